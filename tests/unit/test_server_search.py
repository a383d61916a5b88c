"""Expensive parameters of a search."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from geventjob.server.filter import Filter, FilterError
from geventjob.server.resources import search_parameters


def test_long_filters_are_parsed_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[object] = []
    parse: Callable[[str], Filter] = search_parameters.__dict__["parse"]

    def noted(text: str) -> Filter:
        threads.append(threading.get_native_id())
        return parse(text)

    monkeypatch.setattr(search_parameters, "parse", noted)
    monkeypatch.setattr(search_parameters, "EXPENSIVE_FILTER", 20)
    assert search_parameters.filter_of({"$filter": ["action='a'"]}) == parse("action='a'")
    long = "action='a' or action='b'"
    assert search_parameters.filter_of({"$filter": [long]}) == parse(long)
    with pytest.raises(FilterError):
        search_parameters.filter_of({"$filter": [long + " and or"]})
    here = threading.get_native_id()
    assert [one == here for one in threads] == [True, False, False]
