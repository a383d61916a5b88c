"""Draw the states of a job and the transitions between them: `make reference` writes docs/job-lifecycle.svg."""

from __future__ import annotations

from pathlib import Path

from geventjob.job.states import FINAL, TRANSITIONS

IN_WORDS = {("QUEUED", "SUCCESS"), ("QUEUED", "FAILED"), ("RUNNING", "STOPPED")}
"""Rare transitions, which the page describes below the drawing."""
WIDTH, HEIGHT, HALF = 900, 460, (62, 22)
BOXES = {
    "QUEUED": (90, 220),
    "RUNNING": (420, 220),
    "STOPPING": (420, 360),
    "SUCCESS": (820, 80),
    "FAILED": (820, 220),
    "STOPPED": (820, 360),
}
LINES: dict[tuple[str, str], tuple[list[tuple[int, int]], tuple[int, int], str]] = {
    ("QUEUED", "RUNNING"): ([(152, 212), (356, 212)], (254, 204), "an executor starts the action"),
    ("RUNNING", "QUEUED"): ([(358, 230), (154, 230)], (254, 248), "given back, or executor died"),
    ("RUNNING", "RUNNING"): (
        [(390, 198), (390, 150), (450, 150), (450, 196)],
        (410, 142),
        "next executor starts it",
    ),
    ("RUNNING", "STOPPING"): ([(420, 242), (420, 336)], (440, 278), "stop"),
    ("RUNNING", "SUCCESS"): ([(482, 206), (756, 86)], (590, 122), "returned 0 or nothing"),
    ("RUNNING", "FAILED"): ([(482, 220), (756, 220)], (618, 212), "other value, exception, time-out"),
    ("STOPPING", "SUCCESS"): ([(480, 338), (770, 104)], (712, 170), "ended first"),
    ("STOPPING", "FAILED"): ([(482, 350), (764, 244)], (640, 300), "ended first"),
    ("STOPPING", "STOPPED"): ([(482, 362), (756, 362)], (618, 380), "the executor has ended the action"),
    ("QUEUED", "STOPPED"): ([(90, 242), (90, 430), (820, 430), (820, 384)], (420, 422), "stop"),
}
"""Points of the line of each transition, middle of its label, label."""


def svg() -> str:
    """Return the drawing. Raises ValueError when LINES does not have the transitions of the table."""
    table = {(state, following) for state, several in TRANSITIONS.items() for following in several}
    if LINES.keys() != table - IN_WORDS:
        raise ValueError(f"draw or describe in words: {sorted(LINES.keys() ^ (table - IN_WORDS))}")
    return "\n".join([*head(), *map(box, BOXES), *map(line, LINES), "</svg>", ""])


def head() -> list[str]:
    """Return the start of the drawing: its size, the tip of an arrow, a background for dark pages."""
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="14"'
    tip = '<marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f'<defs>{tip}<path d="M0,0 L7,3 L0,6 z"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<circle cx="90" cy="150" r="6"/>{arrow([(90, 156), (90, 194)])}<text x="102" y="180">add</text>',
    ]


def box(state: str) -> str:
    """Return the box of a state; a final state has a thick border."""
    (x, y), (width, height) = BOXES[state], HALF
    border = 3 if state in FINAL else 1.2
    shape = f'x="{x - width}" y="{y - height}" width="{2 * width}" height="{2 * height}" rx="8"'
    text = f'<text x="{x}" y="{y + 5}" text-anchor="middle" font-weight="bold">{state}</text>'
    return f'<rect {shape} fill="#e8f3f1" stroke="black" stroke-width="{border}"/>{text}'


def line(transition: tuple[str, str]) -> str:
    """Return the line of a transition with its label."""
    points, (x, y), label = LINES[transition]
    title = f"<title>{' --&gt; '.join(transition)}</title>"
    halo = 'paint-order="stroke" stroke="white" stroke-width="4"'
    return f'<g>{title}{arrow(points)}<text x="{x}" y="{y}" text-anchor="middle" {halo}>{label}</text></g>'


def arrow(points: list[tuple[int, int]]) -> str:
    """Return a line through these points with a tip at its end."""
    through = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{through}" fill="none" stroke="black" stroke-width="1.2" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    (Path(__file__).parents[1] / "docs" / "job-lifecycle.svg").write_text(svg(), encoding="utf-8")
