// Dialogs: questions before something changes, and forms.

import { h, paint } from "./dom.js";

// Ask, and run `run(values, tell)` when the user agrees; an error of `run` is shown in the dialog, which stays open.
// `fields`: elements with names. `tell`: shows progress; it returns false once the user has cancelled.
export function ask({ title, words, verb, danger, fields = [], run }) {
  const before = document.activeElement;
  let isCancelled = false;
  const told = h("p", { class: "told", role: "status" });
  const trouble = h("p", { class: "trouble", role: "alert" });
  const agree = h("button", { class: danger ? "danger" : "primary" }, verb);
  const form = h("form", { method: "dialog" },
    h("h2", { id: "dialog-title" }, title), [words].flat().map((text) => h("p", null, text)), fields, told, trouble,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => cancel() }, "Cancel"), agree));
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
  const tell = (text) => {
    paint(told, text);
    return !isCancelled;
  };
  function cancel() {
    isCancelled = true;
    dialog.close();
  }
  form.onsubmit = async (event) => {
    event.preventDefault();
    agree.disabled = true;
    paint(trouble);
    try {
      await run(Object.fromEntries(new FormData(form)), tell);
      dialog.close();
    } catch (error) {
      paint(trouble, error.message);
      agree.disabled = false;
    }
  };
  dialog.addEventListener("close", () => {
    isCancelled = true;
    dialog.remove();
    before?.focus?.();
  });
  document.body.append(dialog);
  dialog.showModal();
}

// Return a labelled field of a form.
export function field(name, label, input, hint) {
  input.id = `field-${name}`;
  input.name = name;
  if (hint) input.setAttribute("aria-describedby", `hint-${name}`);
  return h("div", { key: `field-${name}`, class: "field" }, h("label", { for: input.id }, label), input, hint ? h("small", { id: `hint-${name}` }, hint) : null);
}

// Copy the text of an element; without access to the clipboard, select the text.
export async function copy(element, button) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    paint(button, "Copied");
  } catch {
    getSelection().selectAllChildren(element);
    paint(button, "Selected: press Ctrl-C");
  }
}
