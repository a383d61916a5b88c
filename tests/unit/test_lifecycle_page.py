"""docs/job-lifecycle.md says what the table of transitions says."""

from __future__ import annotations

import re
from pathlib import Path

from geventjob.job.states import FINAL, TRANSITIONS

PAGE = (Path(__file__).parents[2] / "docs" / "job-lifecycle.md").read_text()


def test_the_table_and_the_drawing_have_all_transitions_and_no_others() -> None:
    rows = re.findall(r"^\| `([A-Z]+)` \| ((?:`[A-Z]+` ?)+)\|$", PAGE, re.MULTILINE)
    assert {state: set(re.findall(r"[A-Z]+", following)) for state, following in rows} == {
        state: set(following) for state, following in TRANSITIONS.items() if following
    }
    drawn = set(re.findall(r"^    ([A-Z]+) --> ([A-Z]+)", PAGE, re.MULTILINE))
    table = {(state, following) for state, several in TRANSITIONS.items() for following in several}
    assert drawn <= table
    assert table - drawn == {("QUEUED", "SUCCESS"), ("QUEUED", "FAILED"), ("RUNNING", "STOPPED")}, "told in words"


def test_the_final_states() -> None:
    assert "| `" + "`, `".join(["SUCCESS", "FAILED", "STOPPED"]) + "` | final" in PAGE
    assert {"SUCCESS", "FAILED", "STOPPED"} == FINAL
