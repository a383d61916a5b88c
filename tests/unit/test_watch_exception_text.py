"""The text of an exception is made by the action's code: under the watch, and for a bounded time."""

from tests.support.watching.scenario import answer

LATE = 3.0


def test_an_exception_whose_text_cannot_be_had_is_told_by_its_type() -> None:
    found = answer("exception_text.texts")
    for how in ("sleeps", "computes", "exits"):
        text, seconds, traced = found[how]
        assert text == "Hard: (its text cannot be had)", how
        assert seconds < 0.3 + LATE
        assert traced
        text, seconds, traced = found[f"key {how}"]
        assert text == "KeyError: (its text cannot be had)", how
        assert seconds < 0.3 + LATE
    assert found["chain"][0] == "ValueError: plain", "it is another's text that cannot be had"
    assert found["surrogate"][0] == "ValueError: caf\udce9"
    assert found["plain trace"].startswith("KeyError: 'why'\n\nThe above exception was the direct cause")
    assert found["plain trace"].endswith("ValueError: x")
    assert found["lost"] == "Lost"
    assert found["abandoned"] == ["Hard: (its text cannot be had)"]
    assert found["left"] == [0, 0, 0]
