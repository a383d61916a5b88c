"""What is written from the table of options: the shipped ini files and the reference page.

`python -m geventjob.config.reference` writes them into the folder of the project; a test holds them to the table.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from geventjob.config.options import COMMANDS, OPTIONS, Option, options
from geventjob.config.parser import DESCRIPTIONS, EPILOG

SHIPPED = ("executor", "distributor", "server")
ACTIVE = {"log-dir": "/var/log/slipstream/log"}
"""What the shipped files set, rather than only show."""

TIMEOUTS = """
# Seconds that an action may take, in place of what its author says. The job's own timeout counts before this.
#[timeouts]
#cleanup_jobs = 3600
"""

RIGHTS = """
# Actions of which a user with the role SUBMITTER may add jobs, as names or patterns with * and ?. The line of *
# is for every submitter that has no line; without a line nothing may be added. ADMIN adds jobs of all actions.
#[rights]
#alice = report_*, mirror
"""
SECTIONS = {"executor": TIMEOUTS, "server": RIGHTS}

PAGE_HEAD = f"""# Options

{EPILOG}
A variable that is empty, and a line of the ini file with nothing after its `=`, do not count as given.

The ini file has one `option = value` a line. Comments begin with `#` or `;`, in lines of their own or behind a
value and a blank. A value may stand in quotes, which are no part of it: `ss-pass = "a # b"`. Headings such as
`[executor]` are for the eye, but for `[timeouts]` of an executor, whose lines are `action = seconds`, and
`[rights]` of a server, whose lines are `user = action, …`: names or patterns (`report_*`) of the actions of which
this user, with the role SUBMITTER, may add jobs; the user `*` is every submitter without a line. What is unknown
or wrong ends a command with one line on stderr and exit code 2.

Durations are in seconds and may have a fraction. Where several values may be given, the option is repeated or the
values are separated by commas; in the environment and the ini file it is commas.

Besides these, every command takes `--help` and `-c FILE`, the ini file; `geventjob-distributor` the names of the
distributors to run, or `--all`.
"""


def ini(command: str) -> str:
    """The shipped ini file of a command: every option with its default."""
    head = f"# {COMMANDS[command]}: {DESCRIPTIONS[command]}\n# What is commented out shows the default.\n"
    return head + "".join(entry(option) for option in options(command)) + SECTIONS.get(command, "")


def entry(option: Option) -> str:
    """One option in an ini file, with a line on what it is."""
    said = textwrap.fill(
        f"{option.help[0].upper()}{option.help[1:]}.", 110, initial_indent="# ", subsequent_indent="# "
    )
    if option.name in ACTIVE:
        return f"\n{said}\n{option.name} = {ACTIVE[option.name]}\n"
    return f"\n{said}\n#{option.name} = {option.usual or option.written_default}".rstrip() + "\n"


def page() -> str:
    """The reference page of all options."""
    rows = ["| option | variable | default | commands | |", "|---|---|---|---|---|"]
    rows += [row(option) for option in OPTIONS]
    return f"{PAGE_HEAD}\n" + "\n".join(rows) + "\n"


def row(option: Option) -> str:
    commands = ", ".join(COMMANDS[c].removeprefix("geventjob-") for c in COMMANDS if c in option.commands.split())
    default = option.default_text
    if default != "none" and " " not in default:
        default = f"`{default}`"
    return f"| `--{option.name}` | `{option.variable}` | {default} | {commands} | {option.help} |"


def write(top: Path) -> None:
    """Write all of it below the project's folder."""
    for command in SHIPPED:
        (top / "conf" / f"{command}.ini").write_text(ini(command), encoding="utf-8")
    reference = top / "docs" / "reference"
    reference.mkdir(parents=True, exist_ok=True)
    (reference / "options.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path.cwd())
