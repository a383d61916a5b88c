"""Parameters of a search: `$first $last $filter $select $orderby $aggregation` (docs/reference/api.md, "Search")."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qsl

import falcon
from gevent.threadpool import ThreadPool

from geventjob.cimi.document import WINDOW
from geventjob.server.accounts.caller import Caller
from geventjob.server.filter import And, Filter, FilterError, parse
from geventjob.server.http.admission import HEAVY_WORK, admit
from geventjob.server.http.request_body import FORM, MAX_FORM, read_body, text
from geventjob.server.problem import Problem
from geventjob.server.store.aggregation import ALGORITHMS
from geventjob.server.store.base import Query

MAX_PARAMETERS = 100
"""Most parameters of one request."""
EXPENSIVE_PAGE = 500
"""Items of a page from which a search is expensive."""
EXPENSIVE_FILTER = 2_000
"""Characters of a filter above which a native thread parses it, for some ms, and the search is expensive."""

PARAMETERS = frozenset({"$first", "$last", "$filter", "$select", "$expand", "$orderby", "$aggregation", "$format"})

_ID = r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_PATH = re.compile(rf"{_ID}(?::{_ID})?(?:[/.]{_ID}(?::{_ID})?)*")

Parameters = Mapping[str, Sequence[str]]


def parameters(req: falcon.Request) -> Parameters:
    """Return the parameters of the URL.

    Raises Problem 400 for an unknown parameter that begins with `$`, and for a known one without `$`. Ignores
    all other parameters.
    """
    return _parsed(req.query_string)


def search_parameters(req: falcon.Request) -> Parameters:
    """Return the parameters of the URL and of the form in the body of a PUT. Raises Problem 400."""
    form = text(read_body(req, MAX_FORM, FORM)) if req.method == "PUT" else ""
    return _parsed(f"{req.query_string}&{form}")


def _parsed(query: str) -> Parameters:
    found: dict[str, list[str]] = {}
    for name, value in _fields(query):
        if name.startswith("$") and name not in PARAMETERS:
            raise Problem(400, f"unknown parameter {name[:40]}: expected one of {' '.join(sorted(PARAMETERS))}")
        if f"${name}" in PARAMETERS:
            raise Problem(400, f"unknown parameter {name}: it is called ${name}")
        found.setdefault(name, []).append(value)
    return found


def _fields(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Problem(400, f"too many parameters: {MAX_PARAMETERS} at most") from None


def search_query(req: falcon.Request, caller: Caller) -> tuple[Parameters, Query]:
    """Return the parameters of a search, and the query for the documents that the caller may see.

    Raises Problem 400, 503 (too many expensive searches wait), FilterError.
    """
    given = search_parameters(req)
    first, last = _window(given)
    if last is None or last - first >= EXPENSIVE_PAGE or sum(map(len, given.get("$filter", ()))) > EXPENSIVE_FILTER:
        admit(req, HEAVY_WORK, caller)
    return given, _query(given, caller)


def _query(given: Parameters, caller: Caller) -> Query:
    first, last = _window(given)
    select = selection(given)
    return Query(
        filter=filter_of(given),
        viewers=caller.viewers,
        first=first,
        last=last,
        orderby=[_order(item) for item in _listed(given, "$orderby")],
        aggregations=[_aggregation(item) for item in _listed(given, "$aggregation")],
        select=None if select is None else sorted({path.split("/")[0] for path in select} | {"resourceURI"}),
    )


def selection(given: Parameters) -> list[str] | None:
    """Return the paths of the selected attributes; None: all attributes."""
    names = list(_listed(given, "$select"))
    if not names or "*" in names:
        return None
    return [_path(name) for name in names]


def filter_of(given: Parameters) -> Filter | None:
    """Return the conjunction of the request's filters; None without a filter. Raises FilterError."""
    filters = tuple(map(_filter, given.get("$filter", ())))
    if not filters:
        return None
    return filters[0] if len(filters) == 1 else And(filters)


def _filter(text: str) -> Filter:
    if len(text) <= EXPENSIVE_FILTER:
        return parse(text)
    found = _reader.apply(_try, (text,))
    if isinstance(found, FilterError):
        raise found
    return found


def _try(text: str) -> Filter | FilterError:
    """Return the filter or its error: gevent prints the traceback of an error raised in a thread."""
    try:
        return parse(text)
    except FilterError as error:
        return error


_reader = ThreadPool(1)


def _listed(given: Parameters, name: str) -> Iterator[str]:
    for value in given.get(name, ()):
        yield from filter(None, map(str.strip, value.split(",")))


def _window(given: Parameters) -> tuple[int, int | None]:
    first = max(1, number(given, "$first", 1) or 1)
    last = number(given, "$last", None)
    if last is not None and last - first + 1 > WINDOW:
        raise Problem(400, f"$first to $last spans {last - first + 1} items: {WINDOW} at most")
    return first, None if last is None else max(0, last)


def number(given: Parameters, name: str, default: int | None) -> int | None:
    """Return the whole number of a parameter, or the default without one. Raises Problem 400."""
    value = given.get(name, ("",))[0].strip()
    if not value:
        return default
    if not re.fullmatch(r"-?[0-9]{1,9}", value):
        raise Problem(400, f"{name} is {value[:40]!r}: expected a whole number")
    return int(value)


def _order(item: str) -> tuple[str, bool]:
    name, colon, direction = item.rpartition(":")
    if colon and direction in ("asc", "desc"):
        return _path(name), direction == "desc"
    return _path(item), False


def _aggregation(item: str) -> tuple[str, str]:
    algorithm, _, name = item.partition(":")
    if algorithm not in ALGORITHMS:
        raise Problem(400, f"unknown aggregation {algorithm[:40]!r}: expected one of {' '.join(ALGORITHMS)}")
    return algorithm, _path(name)


def _path(name: str) -> str:
    """Return the path of an attribute with `/` between its names; SlipStream also takes `.` in some places."""
    if len(name) > 256 or not _PATH.fullmatch(name):
        raise Problem(400, f"{name[:40]!r} is not the name of an attribute")
    return name.replace(".", "/")
