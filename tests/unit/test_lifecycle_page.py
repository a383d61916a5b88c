"""docs/job-lifecycle.md agrees with the table of transitions."""

from __future__ import annotations

import re
from pathlib import Path

from geventjob.job.states import FINAL, TRANSITIONS
from tools import draw_lifecycle

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "job-lifecycle.md").read_text()


def test_the_table_and_the_drawing_have_all_transitions_and_no_others() -> None:
    rows = re.findall(r"^\| `([A-Z]+)` \| ((?:`[A-Z]+` ?)+)\|$", PAGE, re.MULTILINE)
    assert {state: set(re.findall(r"[A-Z]+", following)) for state, following in rows} == {
        state: set(following) for state, following in TRANSITIONS.items() if following
    }
    drawing = (DOCS / "job-lifecycle.svg").read_text()
    assert drawing == draw_lifecycle.svg(), "run `make reference`"
    drawn = set(re.findall(r"<title>([A-Z]+) --&gt; ([A-Z]+)</title>", drawing))
    table = {(state, following) for state, several in TRANSITIONS.items() for following in several}
    assert table - drawn == draw_lifecycle.IN_WORDS
    assert drawn <= table


def test_the_final_states() -> None:
    assert "| `" + "`, `".join(["SUCCESS", "FAILED", "STOPPED"]) + "` | final" in PAGE
    assert {"SUCCESS", "FAILED", "STOPPED"} == FINAL
