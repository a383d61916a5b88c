"""`geventjob new-action`: a commented action and its test, to begin with."""

from __future__ import annotations

import argparse
import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING

from geventjob.cli.context import Commands
from geventjob.cli.errors import UsageError
from geventjob.exit_code import ExitCode

if TYPE_CHECKING:
    from geventjob.cli.screen import Screen

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
ACTION = '''"""The action @NAME@. Say here what it is for."""

from geventjob import Backoff, GiveUp, action


# Jobs name the action "@NAME@". `timeout`: seconds that a run may take. `retries`: how often a failed run is tried
# again, after the pauses of `backoff`.
@action("@NAME@", timeout=60, retries=3, backoff=Backoff(first=1, factor=2, longest=3600))
def @NAME@(job, text: str, times: int = 1):
    # Parameters behind `job` are filled from the payload, and checked by their annotations.
    if times < 1:
        raise GiveUp("times is a number from 1")  # FAILED at once. Other exceptions are tried again.
    lines = list(job.checkpoint or [])  # what an earlier run of this job has saved: a job may run more than once
    while len(lines) < times:
        lines.append(text.upper())
        job.set_checkpoint(lines)
        job.set_progress(100 * len(lines) / times)
    return {"lines": lines}  # the output; nothing or 0 is SUCCESS too, another number FAILED
'''
TEST = '''"""Test the action @NAME@ as an executor would run it, without server and queue."""

from pathlib import Path

from geventjob.testing import run_action

ACTIONS = Path(__file__).parent.parent / "actions"


def test_it_gives_an_output():
    job = run_action("@NAME@", {"text": "hello", "times": 2}, actions_dir=ACTIONS)
    assert job.state == "SUCCESS", job.errors
    assert job.output == {"lines": ["HELLO", "HELLO"]}


def test_it_goes_on_where_an_earlier_run_has_failed():
    job = run_action("@NAME@", {"text": "hello", "times": 2}, actions_dir=ACTIONS, checkpoint=["EARLIER"])
    assert job.output == {"lines": ["EARLIER", "HELLO"]}


def test_it_gives_up_on_a_number_that_is_none():
    job = run_action("@NAME@", {"text": "hello", "times": 0}, actions_dir=ACTIONS)
    assert (job.state, job.attempts) == ("FAILED", 1)
    assert job.message == "GiveUp: times is a number from 1"


def test_a_payload_that_does_not_fit_fails_at_once():
    job = run_action("@NAME@", {}, actions_dir=ACTIONS)
    assert job.message == "InvalidPayload: text: missing"
'''


def declare(commands: Commands) -> None:
    """Declare the command and its arguments."""
    parser = commands.add_local("new-action", new_action)
    parser.add_argument("name", metavar="NAME", help="name of the action and of its file: letters, digits and _")
    parser.add_argument(
        "--dir", default=".", metavar="DIR", help="folder in which actions/ and tests/ are (default: the current one)"
    )


def new_action(screen: Screen, args: argparse.Namespace) -> int:
    """Write the two files. Raises UsageError for a name that is no name, and for files that are there."""
    if not NAME.fullmatch(args.name) or keyword.iskeyword(args.name) or args.name in ("action", "job"):
        raise UsageError(f"NAME: expected a name for a function of Python, as count_words, not {args.name!r}")
    texts = {
        Path(args.dir) / "actions" / f"{args.name}.py": ACTION,
        Path(args.dir) / "tests" / f"test_{args.name}.py": TEST,
    }
    for path in texts:
        if path.exists():
            raise UsageError(f"{path} is there already")
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("@NAME@", args.name))
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None
    action, test = texts
    if screen.json:
        screen.document([str(action), str(test)])
    screen.line(str(action))
    screen.line(str(test))
    screen.line(f"try them: pytest {test}; geventjob run {args.name} --actions-dir {action.parent} --payload "
                """'{"text": "hello"}'""")  # fmt: skip
    return ExitCode.SUCCESS
