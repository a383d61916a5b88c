"""The meaning of values in filters: dates of every precision, date math, and impossible values."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from geventjob.server.filter import And, Date, FilterError, parse
from geventjob.server.store.attributes import readers, terms
from geventjob.server.store.dates import milliseconds, period
from geventjob.server.store.resolve import Begins, Exists, Is, Not, Within, resolve

NOW = datetime(2019, 4, 2, 8, 15, 30, 123456, tzinfo=timezone.utc)  # a Tuesday


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2019", "2019-01-01T00:00:00.000Z", "2019-12-31T23:59:59.999Z"),
        ("2020-02", "2020-02-01T00:00:00.000Z", "2020-02-29T23:59:59.999Z"),
        ("2019-04-02", "2019-04-02T00:00:00.000Z", "2019-04-02T23:59:59.999Z"),
        ("2019-04-02T08", "2019-04-02T08:00:00.000Z", "2019-04-02T08:59:59.999Z"),
        ("2019-04-02T08:15", "2019-04-02T08:15:00.000Z", "2019-04-02T08:15:59.999Z"),
        ("2019-04-02T08:15:30", "2019-04-02T08:15:30.000Z", "2019-04-02T08:15:30.999Z"),
        ("2019-04-02T08:15:30Z", "2019-04-02T08:15:30.000Z", "2019-04-02T08:15:30.999Z"),
        ("2019-04-02T08:15:30.1Z", "2019-04-02T08:15:30.100Z", "2019-04-02T08:15:30.100Z"),
        ("2019-04-02T08:15:30.123987654Z", "2019-04-02T08:15:30.123Z", "2019-04-02T08:15:30.123Z"),
        ("2019-04-02T08:15:30.5+02:00", "2019-04-02T06:15:30.500Z", "2019-04-02T06:15:30.500Z"),
        ("2019-04-02T08:15-0530", "2019-04-02T13:45:00.000Z", "2019-04-02T13:45:59.999Z"),
        ("9999-12-31", "9999-12-31T00:00:00.000Z", "9999-12-31T23:59:59.999Z"),
        ("now", "2019-04-02T08:15:30.123Z", "2019-04-02T08:15:30.123Z"),
        ("now-7d", "2019-03-26T08:15:30.123Z", "2019-03-26T08:15:30.123Z"),
        ("now+1y-1M+1w", "2020-03-09T08:15:30.123Z", "2020-03-09T08:15:30.123Z"),
        ("now-2h+3H-90m+15s", "2019-04-02T07:45:45.123Z", "2019-04-02T07:45:45.123Z"),
        ("now+d", "2019-04-03T08:15:30.123Z", "2019-04-03T08:15:30.123Z"),
        ("now/y", "2019-01-01T00:00:00.000Z", "2019-12-31T23:59:59.999Z"),
        ("now/M", "2019-04-01T00:00:00.000Z", "2019-04-30T23:59:59.999Z"),
        ("now/w", "2019-04-01T00:00:00.000Z", "2019-04-07T23:59:59.999Z"),
        ("now/h", "2019-04-02T08:00:00.000Z", "2019-04-02T08:59:59.999Z"),
        ("now/s", "2019-04-02T08:15:30.000Z", "2019-04-02T08:15:30.999Z"),
        ("now-60m/d", "2019-04-02T00:00:00.000Z", "2019-04-02T23:59:59.999Z"),
        ("now/d-1h", "2019-04-01T23:00:00.000Z", "2019-04-02T22:59:59.999Z"),
        ("2019-04-02||", "2019-04-02T00:00:00.000Z", "2019-04-02T00:00:00.000Z"),
        ("2019-04-02||+1d/d", "2019-04-03T00:00:00.000Z", "2019-04-03T23:59:59.999Z"),
        ("2019-01-31||+1M", "2019-02-28T00:00:00.000Z", "2019-02-28T00:00:00.000Z"),
        ("2020-02-29||-1y", "2019-02-28T00:00:00.000Z", "2019-02-28T00:00:00.000Z"),
        ("2019-12-15||+1M/M", "2020-01-01T00:00:00.000Z", "2020-01-31T23:59:59.999Z"),
    ],
)
def test_a_quoted_date_is_this_period(text: str, first: str, last: str) -> None:
    assert period(text, NOW) == (first, last)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2019-04", "2019-04-01T00:00:00.000Z"),
        ("2019-04-02", "2019-04-02T00:00:00.000Z"),
        ("2019-04-02T08:15:30Z", "2019-04-02T08:15:30.000Z"),
        ("2019-04-02T08:15:30.1234567890Z", "2019-04-02T08:15:30.123Z"),
    ],
)
def test_a_bare_date_is_the_instant_at_which_it_begins(text: str, instant: str) -> None:
    assert period(Date(text), NOW) == (instant, instant)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yesterday", "'yesterday' is not a date: expected a date such as 2019-04-02"),
        ("", "'' is not a date"),
        ("2019-4-2", "'2019-4-2' is not a date"),
        ("2019-02-29", "'2019-02-29' is not a possible date: day "),
        ("2019-13", "'2019-13' is not a possible date: month must be in 1..12"),
        ("0000-01-01", "'0000-01-01' is not a possible date"),
        ("2019-04-02T08:15:30+25:00", "'2019-04-02T08:15:30+25:00' is not a possible date"),
        ("now-7", "'now-7': '-7' is not date math: expected steps such as -7d, +1M or /d"),
        ("now-7x", "'now-7x': '-7x' is not date math"),
        ("now - 7d", "'now - 7d': ' - 7d' is not date math"),
        ("now/2d", "'now/2d': '/2d' is not date math"),
        ("nowhere", "'nowhere': 'here' is not date math"),
        ("now-9999y", "'now-9999y' is not a possible date: year -7980 is out of range"),
        ("now+999999999w", "'now+999999999w' is not a possible date"),
        ("now+12345678901d", "'now+12345678901d': '+123456789' is not date math"),
        ("2019-04-02|+1d", "'2019-04-02|+1d' is not a date"),
        ("x||+1d", "'x' is not a date"),
        ("2019-04-02T08:15:30.1Z" + "0" * 99, "'2019-04-02T08:15:30.1Z0000"),
    ],
)
def test_what_is_no_date_is_told(text: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        period(text, NOW)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 250


def test_an_instant_in_milliseconds() -> None:
    assert milliseconds("1970-01-01T00:00:01.001Z") == 1001
    assert milliseconds("2019-04-02T08:15:30.123Z") == 1554192930123


DAY = ("2019-04-02T00:00:00.000Z", "2019-04-02T23:59:59.999Z")
CREATED = ("created",)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("created='2019-04-02'", Within(CREATED, ((">=", DAY[0]), ("<=", DAY[1])))),
        ("created!='2019-04-02'", Not(Within(CREATED, ((">=", DAY[0]), ("<=", DAY[1]))))),
        ("created=='2019-04-02'", Within(CREATED, ((">=", DAY[0]), ("<=", DAY[1])))),
        ("created<'2019-04-02'", Within(CREATED, (("<", DAY[0]),))),
        ("created>='2019-04-02'", Within(CREATED, ((">=", DAY[0]),))),
        ("created>'2019-04-02'", Within(CREATED, ((">", DAY[1]),))),
        ("created<='2019-04-02'", Within(CREATED, (("<=", DAY[1]),))),
        ("created<=2019-04-02", Within(CREATED, (("<=", DAY[0]),))),
        ("created=2019-04-02", Is(CREATED, DAY[0])),
        ("2019-04-02>created", Within(CREATED, (("<", DAY[0]),))),
        ("created=null", Not(Exists(CREATED))),
        ("created!=null", Exists(CREATED)),
        ("name=2019-04-02", Is(("name",), "2019-04-02")),
        ("name=3", Is(("name",), "3")),
        ("name=true", Is(("name",), "true")),
        ("x/y<3", Within(("x", "y"), (("<", "3"),))),
        ("name^='a'", Begins(("name",), "a")),
        ("priority=3", Is(("priority",), 3)),
        ("priority='3'", Is(("priority",), 3)),
        ("priority=='-3'", Is(("priority",), -3)),
        ("timeout<'2.5'", Within(("timeout",), (("<", 2.5),))),
        ("interrupted=true", Is(("interrupted",), True)),
        ("interrupted!='false'", Not(Is(("interrupted",), False))),
        ("property['a/b']='v'", Is(("properties", "a/b"), "v")),
        ("property['k']=null", Not(Exists(("properties", "k")))),
        (
            "fulltext=='Sleeps, a LITTLE'",
            And((Is(("fulltext",), "a"), Is(("fulltext",), "little"), Is(("fulltext",), "sleeps"))),
        ),
    ],
)
def test_a_comparison_means_this_condition(text: str, condition: object) -> None:
    assert resolve(parse(text), NOW) == condition


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("created='soon'", "created: 'soon' is not a date: expected a date such as"),
        ("started<2019", "started is a date, but 2019 is not (quote a year that stands alone)"),
        ("created=true", "created is a date, but true is not"),
        ("created=2019-99-99", "created: '2019-99-99' is not a possible date"),
        ("created=2019-04T08:15:30Z", "created: '2019-04T08:15:30Z' is not a date"),
        ("created^='2019'", "created is not a text: use < and >= instead of ^="),
        ("priority^='9'", "priority is not a text: use < and >= instead of ^="),
        ("priority='high'", "priority is a number, but 'high' is not"),
        ("priority=2019-04", "priority is a number, but '2019-04' is not"),
        ("priority=true", "priority is a number, but 'true' is not"),
        ("priority='1e5'", "priority is a number, but '1e5' is not"),
        ("priority!='9223372036854775808'", "priority: the number 9223372036854775808 is too large"),
        (f"priority='{'9' * 5000}'", "priority: the number 9999999999999999999999999999999999999999 is too large"),
        ("interrupted='yes'", "interrupted is true or false, but 'yes' is neither"),
        ("interrupted=1", "interrupted is true or false, but '1' is neither"),
        ("interrupted>'false'", "interrupted is true or false: < <= > >= do not apply"),
        ("payload=null", "payload is not searched"),
        ("payload/n=1", "payload/n is not searched"),
        ("fulltext='x'", "fulltext has one form: fulltext=='some words'"),
        ("fulltext!=null", "fulltext has one form:"),
        ("fulltext=='--'", "fulltext: no word in '--'"),
        ("a=1 or (b=2 and payload!=3)", "payload is not searched"),
    ],
)
def test_a_value_that_its_attribute_cannot_have_is_told(text: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        resolve(parse(text), NOW)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 250


def test_a_filter_nested_deeper_than_calls_may_be_is_resolved() -> None:
    tree = parse("(a=1 and(b=2 or" * 499 + " c=3" + "))" * 499)
    condition = resolve(tree, NOW)
    for _ in range(499):
        assert isinstance(condition, And)
        condition = condition.terms[1].terms[1]
    assert condition == Is(("c",), "3")


def test_the_terms_of_a_document() -> None:
    document = {
        "id": "job/1",
        "state": "QUEUED",
        "targetResource": {"href": "cloud/1", "zone": {"name": "b"}},
        "affectedResources": [{"href": "cloud/1"}, [{"href": "cloud/2"}]],
        "properties": {"a/b=%": "Two words"},
        "tags": ["x", "x", 1, 1.5, True, None, {}, []],
        "acl": {
            "owner": {"type": "USER", "principal": "al"},
            "rules": [{"type": "ROLE", "principal": "R", "right": "VIEW"}],
        },
        "payload": {"n": 1},
        "_secret": "s",
    }
    assert terms(document) == {
        "targetResource/zone/name=b",
        "affectedResources/href=cloud/1",
        "affectedResources/href=cloud/2",
        "properties/a%2Fb%3D%25=Two words",
        "fulltext=two",
        "fulltext=words",
        "fulltext=x",
        "tags=x",
        "tags=1",
        "tags=1.5",
        "tags=true",
        "acl/owner/type=USER",
        "acl/owner/principal=al",
        "acl/rules/type=ROLE",
        "acl/rules/principal=R",
        "acl/rules/right=VIEW",
    }
    assert readers(document) == {"USER al", "ROLE R"}
    assert readers({"id": "job/1"}) == set()
