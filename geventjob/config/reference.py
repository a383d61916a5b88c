"""The shipped ini files and the reference page of options, both made from the table of options.

`python -m geventjob.config.reference` (`make reference`) writes the files; a test holds them to the table.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from geventjob.config.options import COMMANDS, OPTIONS, Option, options
from geventjob.config.parser import DESCRIPTIONS, EPILOG

SHIPPED = ("executor", "distributor", "server")
ACTIVE = {"log-dir": "/var/log/slipstream/log"}
"""Options that the shipped files set; all others are commented out."""

TIMEOUTS = """
# Time limits of actions in seconds, which override the author's. The timeout of a job overrides both.
#[timeouts]
#cleanup_jobs = 3600
"""

HEAD = """# Lines that are commented out show the defaults. Units of the packages set data-dir and log-dir in the
# environment, which overrides this file.
"""

RIGHTS = """
# Actions of which a user with the role SUBMITTER may add jobs, as names or patterns with * and ?. The line of *
# is for all submitters without a line of their own; a submitter without any line may add no job. ADMIN may add all.
#[rights]
#alice = report_*, mirror
"""
SECTIONS = {"executor": TIMEOUTS, "server": RIGHTS}

PAGE_HEAD = f"""# Options

{EPILOG}
An empty environment variable, and a line of the ini file without a value, do not count as given.

Besides the options below, every command takes `--help` and `-c FILE`, the ini file. `geventjob-distributor` takes the
names of the distributors to run, or `--all`.

## Values

Durations are in seconds and may have a fraction. An option for several values is repeated, or its values are separated
by commas; in the environment and the ini file they are separated by commas. An unknown option or an invalid value ends
a command with one line on stderr and [exit code](cli.md#exit-codes) 2.

## The ini file

A line is `option = value`. A comment begins with `#` or `;`, in a line of its own or after a value and a blank. A value
may stand in quotes, which are removed: `ss-pass = "a # b"`. Headings such as `[executor]` have no meaning, except two:

| section | of | lines |
|---|---|---|
| `[timeouts]` | executors | `action = seconds`: time limits of actions |
| `[rights]` | servers | `user = action, …`: names or patterns (`report_*`) of actions |

A user with the role SUBMITTER may add jobs of the actions in the line of this user. The user `*` stands for all
submitters without a line of their own.

## All options

SIGHUP lets an executor, a distributor or a server read its options again. `yes` in the column SIGHUP: the new value
counts at once, as `[timeouts]` and `[rights]` do. Other options need a restart; the log names those that have changed.
"""


def ini(command: str) -> str:
    """Return the shipped ini file of a command: every option with its default."""
    title = f"# {COMMANDS[command]}: {DESCRIPTIONS[command]}\n"
    return title + HEAD + "".join(entry(option) for option in options(command)) + SECTIONS.get(command, "")


def entry(option: Option) -> str:
    """Return one option of an ini file, with its description."""
    said = textwrap.fill(
        f"{option.help[0].upper()}{option.help[1:]}.", 110, initial_indent="# ", subsequent_indent="# "
    )
    if option.name in ACTIVE:
        return f"\n{said}\n{option.name} = {ACTIVE[option.name]}\n"
    return f"\n{said}\n#{option.name} = {option.usual or option.written_default}".rstrip() + "\n"


def page() -> str:
    """Return the reference page of all options."""
    rows = ["| option | variable | default | commands | SIGHUP | description |", "|---|---|---|---|---|---|"]
    rows += [row(option) for option in OPTIONS]
    return f"{PAGE_HEAD}\n" + "\n".join(rows) + "\n"


def row(option: Option) -> str:
    """Return the row of an option in the reference page."""
    commands = ", ".join(COMMANDS[c].removeprefix("geventjob-") for c in COMMANDS if c in option.commands.split())
    default = option.default_text
    if default != "none" and " " not in default:
        default = f"`{default}`"
    live = "yes" if option.live else ""
    return f"| `--{option.name}` | `{option.variable}` | {default} | {commands} | {live} | {option.help} |"


def write(top: Path) -> None:
    """Write all files below the project's folder."""
    for command in SHIPPED:
        (top / "conf" / f"{command}.ini").write_text(ini(command), encoding="utf-8")
    reference = top / "docs" / "reference"
    reference.mkdir(parents=True, exist_ok=True)
    (reference / "options.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path.cwd())
