// The log-in.

import { logIn } from "./api.js";
import { h } from "./dom.js";

const logInState = { trouble: "", isBusy: false };

export function drawLogIn(page) {
  const send = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    Object.assign(logInState, { trouble: "", isBusy: true });
    page.repaint();
    try {
      await logIn(form.get("username"), form.get("password"));
      logInState.isBusy = false;
      page.restart();
    } catch (error) {
      Object.assign(logInState, { trouble: logInTrouble(error), isBusy: false });
      page.repaint();
    }
  };
  return h("form", { key: "log-in", class: "log-in panel", onsubmit: send },
    h("h1", null, "Log in"),
    h("label", { for: "username" }, "User"),
    h("input", { id: "username", name: "username", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" }),
    h("label", { for: "password" }, "Password"),
    h("input", { id: "password", name: "password", type: "password", autocomplete: "current-password", required: true }),
    h("p", { class: "trouble", role: "alert" }, logInState.trouble),
    h("button", { class: "primary", disabled: logInState.isBusy }, "Log in"));
}

function logInTrouble(error) {
  if (error.status === 403) return "User or password is wrong.";
  if (error.status === 429) return `Too many attempts: try again in ${error.retryAfter || "some"} s.`;
  return `${error.message}.`;
}
