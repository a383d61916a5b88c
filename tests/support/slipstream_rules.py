"""The rules of a SlipStream server for jobs and searches (docs/reference/cimi.md): for the stand-in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from geventjob.server.filter import Compare, Date, FilterError, Or, parse
from geventjob.server.filter.tree import fold

Document = dict[str, Any]
Form = list[tuple[str, str]]

WINDOW = 10_000


class Answered(Exception):
    """An answer in place of a document."""

    def __init__(self, status: int, message: str, id: str | None = None) -> None:
        self.status = status
        self.body = {"status": status, "message": message} | ({"resource-id": id} if id else {})


def now() -> datetime:
    return datetime.now(timezone.utc)


def written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- the schema of a job: a closed object

HREF = re.compile(r"[a-z-]+(/[A-Za-z0-9]+([-_][A-Za-z0-9]+)*)?")
JOB_ID = re.compile(r"job/[a-z]+(-[a-z]+)*")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}(Z|[+-]\d\d:\d\d)")
STATES = {"QUEUED", "RUNNING", "FAILED", "SUCCESS", "STOPPING", "STOPPED"}


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def is_time(value: Any) -> bool:
    return isinstance(value, str) and bool(TIME.fullmatch(value))


def is_int(value: Any, least: float = -(2**31), most: float = 2**31) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_linked(value: Any) -> bool:
    return isinstance(value, dict) and is_text(value.get("href")) and bool(HREF.fullmatch(value["href"]))


def is_list_of(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(kind, value))


def is_job_id(value: Any) -> bool:
    return is_text(value) and bool(JOB_ID.fullmatch(value))


ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    "id": is_word,
    "resourceURI": is_word,
    "created": is_time,
    "updated": is_time,
    "acl": lambda value: isinstance(value, dict) and {"owner", "rules"} == set(value),
    "operations": lambda value: isinstance(value, list),
    "name": is_word,
    "description": is_word,
    "properties": lambda value: isinstance(value, dict) and bool(value) and all(map(is_text, value.values())),
    "state": lambda value: value in STATES,
    "action": is_word,
    "progress": lambda value: is_int(value, 0, 100),
    "targetResource": is_linked,
    "affectedResources": is_list_of(is_linked),
    "returnCode": is_int,
    "statusMessage": is_text,
    "timeOfStatusChange": is_time,
    "parentJob": is_job_id,
    "nestedJobs": is_list_of(is_job_id),
    "priority": lambda value: is_int(value, 0, 999),
    "started": is_time,
    "duration": lambda value: value is None or is_int(value, 0),
}
REQUIRED = {"acl", "state", "action", "progress"}


def validate(job: Document) -> None:
    wrong = [name for name, value in job.items() if name not in ATTRIBUTES or not ATTRIBUTES[name](value)]
    wrong += sorted(REQUIRED - set(job))
    if wrong:
        raise Answered(400, f"resource does not satisfy defined schema:\nfails at {', '.join(wrong)}")


# --- filters


def at(document: Any, path: Sequence[str]) -> list[Any]:
    """Return all values at a path; lists are flattened."""
    if isinstance(document, list):
        return [value for item in document for value in at(item, path)]
    if not path:
        return [] if document is None else [document]
    return at(document.get(path[0]), path[1:]) if isinstance(document, dict) else []


def meant(value: Any, attribute: Sequence[str]) -> Any:
    """Return the value for a comparison: date math is computed, a quoted number is a number."""
    text = value.text if isinstance(value, Date) else value
    math = re.fullmatch(r"now(?:-(\d+)([smhd]))?", text) if isinstance(text, str) else None
    if math and attribute[0] in ("created", "updated", "started", "timeOfStatusChange"):
        units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
        back = timedelta(**{units[math[2]]: int(math[1])}) if math[1] else timedelta()
        return written(now() - back)
    return text


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: str(one) == str(other),
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "^=": lambda one, other: str(one).startswith(other),
    "==": lambda one, other: one == other,
}


def matches(document: Document, text: str) -> bool:
    def leaf(one: Any) -> bool:
        if not isinstance(one, Compare):
            raise Answered(500, "unexpected error occurred: property[…]")
        values, wanted = at(document, one.attribute), meant(one.value, one.attribute)
        if wanted is None:
            return bool(values) == (one.operator == "!=")
        if one.operator == "!=":
            return not any(COMPARED["="](value, wanted) for value in values)
        return any(COMPARED[one.operator](value, wanted) for value in values)

    try:
        return bool(fold(parse(text), leaf, lambda node, parts: any(parts) if isinstance(node, Or) else all(parts)))
    except FilterError as error:
        raise Answered(400, f"Invalid CIMI filter. {error}") from None


# --- searches


def words(form: Form, name: str) -> list[str]:
    return [word.strip() for key, value in form if key == name for word in value.split(",") if word.strip()]


def selected(form: Form) -> list[str] | None:
    return words(form, "$select") or None


def window(form: Form) -> tuple[int, int]:
    """Return the first item, from 0, and the end. Values that are no numbers are ignored."""

    def number(name: str, default: int) -> int:
        return next((int(value) for key, value in form if key == name and re.fullmatch(r"-?\d+", value)), default)

    first = max(1, number("$first", 1))
    last = number("$last", first + WINDOW - 1)
    if last - first + 1 > WINDOW:
        raise Answered(500, f"unexpected error occurred: size {last - first + 1} too large; limit is {WINDOW}")
    return first - 1, max(last, first - 1)


def ordered(jobs: list[Document], name: str) -> list[Document]:
    descending = name.endswith(":desc")
    path = re.sub(":(asc|desc)$", "", name).split(".")
    have = [job for job in jobs if at(job, path)]
    have.sort(key=lambda job: at(job, path)[0], reverse=descending)
    return have + [job for job in jobs if not at(job, path)]


def aggregated(jobs: list[Document], name: str) -> Document:
    counts = Counter(value for job in jobs for value in at(job, name.partition(":")[2].split("/")))
    buckets = [{"key": key, "doc_count": count} for key, count in counts.most_common(10)]
    return {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": buckets}
