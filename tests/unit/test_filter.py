"""The CIMI filter language (docs/reference/filters.md): every form, errors, limits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventjob.server.filter import And, Compare, Date, Filter, FilterError, Or, Property, parse
from geventjob.server.filter.tree import fold
from tests.support.filters import texts, trees, written


def eq(name: str, value: Any) -> Compare:
    return Compare(tuple(name.split("/")), "=", value)


A1, B2, C3 = eq("a", 1), eq("b", 2), eq("c", 3)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a=1", A1),
        (" \t\n\r a \f = \v 1 ", A1),
        ("1=a", A1),
        ("a!=1", Compare(("a",), "!=", 1)),
        ("a<1", Compare(("a",), "<", 1)),
        ("a<=1", Compare(("a",), "<=", 1)),
        ("a>1", Compare(("a",), ">", 1)),
        ("a>='x'", Compare(("a",), ">=", "x")),
        ("1<a", Compare(("a",), ">", 1)),
        ("1<=a", Compare(("a",), ">=", 1)),
        ("1>a", Compare(("a",), "<", 1)),
        ("'x'>=a", Compare(("a",), "<=", "x")),
        ("'x'!=a", Compare(("a",), "!=", "x")),
        ("a^='x'", Compare(("a",), "^=", "x")),
        ("'x'^=a", Compare(("a",), "^=", "x")),
        ("a=='x'", Compare(("a",), "==", "x")),
        ('"x"==a', Compare(("a",), "==", "x")),
        ("a=true", eq("a", True)),
        ("false=a", eq("a", False)),
        ("a!=null", Compare(("a",), "!=", None)),
        ("null=a", eq("a", None)),
        ("a=007", eq("a", 7)),
        ("a=9223372036854775807", eq("a", 2**63 - 1)),
        ("a=2019-04", eq("a", Date("2019-04"))),
        ("a>2019-04-02", Compare(("a",), ">", Date("2019-04-02"))),
        ("2019-04-02T08:15:30Z<a", Compare(("a",), ">", Date("2019-04-02T08:15:30Z"))),
        ("a<2019-04-02T08:15:30.1+02:00", Compare(("a",), "<", Date("2019-04-02T08:15:30.1+02:00"))),
        ("a=2019T1", None),
        ("a=''", eq("a", "")),
        ('a="it\'s"', eq("a", "it's")),
        (r"a='it\'s'", eq("a", r"it\'s")),
        (r"a='\\'", eq("a", r"\\")),
        ("a='x\ny'", eq("a", "x\ny")),
        ("a/b/c=1", eq("a/b/c", 1)),
        ("price:unitCost/x:y=1", eq("price:unitCost/x:y", 1)),
        ("a-b_c9=1", eq("a-b_c9", 1)),
        ("property['k']='v'", Property("k", "=", "v")),
        ("property[ \"k\" ] != 'v'", Property("k", "!=", "v")),
        ("property['k']=null", Property("k", "=", None)),
        ("property['k']!=null", Property("k", "!=", None)),
        ("property=1", eq("property", 1)),
        ("a=1 and b=2 or c=3", Or((And((A1, B2)), C3))),
        ("a=1 or b=2 and c=3", Or((A1, And((B2, C3))))),
        ("a=1 and (b=2 or c=3)", And((A1, Or((B2, C3))))),
        ("(a=1 or (b=2)) or ((c=3))", Or((A1, B2, C3))),
        ("(a=1 and (b=2 and c=3))", And((A1, B2, C3))),
        ("a=1and b=2or c=3", Or((And((A1, B2)), C3))),
        ("a=1andb=2", And((A1, B2))),
        ("(a=1)and(b=2)or(c=3)", Or((And((A1, B2)), C3))),
        ("a='x'orb=2", Or((eq("a", "x"), B2))),
        ("a=nullorb=2", Or((eq("a", None), B2))),
        ("a=trueandfalse=b", And((eq("a", True), eq("b", False)))),
        ("a=2019-04andb=2", And((eq("a", Date("2019-04")), B2))),
        ("1=a and b=2", And((A1, B2))),
        ("and=1 and or=2", And((eq("and", 1), eq("or", 2)))),
        ("true=1", eq("true", 1)),
        ("true=a", eq("a", True)),
        ("null='x' and true^='y'", And((eq("null", "x"), Compare(("true",), "^=", "y")))),
        ("1=true", eq("true", 1)),
        ("trueish=1 or nullable=2", Or((eq("trueish", 1), eq("nullable", 2)))),
        ("true/null=1", eq("true/null", 1)),
    ],
)
def test_a_text_has_this_tree(text: str, tree: Filter | None) -> None:
    if tree is None:
        with pytest.raises(FilterError):
            parse(text)
    else:
        assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "position 1: found the end, expected a comparison such as state='QUEUED'"),
        ("   ", "position 4: found the end, expected a comparison such as state='QUEUED'"),
        ("()", "position 2: found ), expected a comparison"),
        ("a", "position 2: found the end, expected = != < <= > >= ^= =="),
        ("a b", "position 3: found b, expected = !="),
        ("a=", "position 3: found the end, expected a number, a date, a quoted text, true, false or null"),
        ("a=b", "position 3: found b, expected a number, a date, a quoted text, true, false or null"),
        ("a=-1", "position 3: found -1, expected a number"),
        ("a=1.5", "position 4: found .5, expected 'and', 'or' or the end"),
        ("a=True", "position 3: found True, expected"),
        ("a=1 AND b=2", "position 5: found AND, expected 'and', 'or' or the end"),
        ("(a=1", "position 5: found the end, expected 'and', 'or' or ')'"),
        ("a=1)", "position 4: found ), expected 'and', 'or' or the end"),
        ("a=1 and", "position 8: found the end, expected a comparison"),
        ("a=1 or or", "position 10: found the end, expected = !="),
        ("not a=1", "position 5: found a=1, expected = !="),
        ("a<true", "position 3: found true, expected a number, a date or a quoted text"),
        ("a>=null", "position 4: found null, expected a number, a date or a quoted text"),
        ("true<a", "position 6: found a, expected a number, a date or a quoted text"),
        ("a^=1", "position 4: found 1, expected a quoted text"),
        ("a==2019-04", "position 4: found 2019-04, expected a quoted text"),
        ("1^=a", "position 2: found ^=a, expected = != < <= > >="),
        ("1=1", "position 3: found 1, expected the name of an attribute"),
        ("a='x", "position 3: the text that begins with 'x has no closing '"),
        ('a="x\\"', 'position 3: the text that begins with "x\\" has no closing "'),
        ("a/ b=1", "position 2: found /, expected = !="),
        ("_a=1", "position 1: found _a=1, expected a comparison"),
        ("a-=1", "position 2: found -=1, expected = !="),
        ("é=1", "position 1: found é=1, expected a comparison"),
        ("a:b:c=1", "position 4: found :c=1, expected = !="),
        ("a=2019-04-02T08:15:30", "position 13: found T08:15:30, expected 'and', 'or' or the end"),
        ("property['k'='v'", "position 13: found ='v', expected ']'"),
        ("property[k]='v'", "position 10: found k]='v', expected a quoted text"),
        ("property['k']<'v'", "position 14: found <'v', expected = !="),
        ("property['k']=1", "position 15: found 1, expected a quoted text or null"),
        ("'v'=property['k']", "position 13: found ['k'], expected"),
        ("a=9223372036854775808", "position 3: the number 9223372036854775808 is above 9223372036854775807"),
        ("a=" + "9" * 5000, "position 3: the number 99999999999999999999… is above 9223372036854775807"),
        ("a='\ud800'", "position 4: half of a surrogate pair is not a character"),
        ("a='" + "é" * 40000 + "'", "the filter has 80004 bytes: 65536 at most"),
        ("a=" + "x" * 50, "position 3: found xxxxxxxxxxxxxxxxxxxx…, expected"),
    ],
)
def test_errors_have_the_position_and_the_expected_text(text: str, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


names = st.from_regex(r"[A-Za-z]([A-Za-z0-9_-]{0,5}[A-Za-z0-9_])?(:[a-z]+)?", fullmatch=True)
paths = st.lists(names, min_size=1, max_size=3).map(tuple).filter(lambda path: path[0] not in ("true", "false", "null"))
dates = st.from_regex(
    r"\d+-\d+(-\d+)?(T\d+:\d+:\d+(\.\d+)?(Z|[+-]\d+:\d+))?", fullmatch=True, alphabet="0123456789T:-+.Z"
)
ordinals = st.one_of(texts, st.integers(0, 2**63 - 1), dates.map(Date))
compares = st.one_of(
    st.builds(Compare, paths, st.sampled_from(["=", "!="]), st.one_of(ordinals, st.booleans(), st.none())),
    st.builds(Compare, paths, st.sampled_from(["<", "<=", ">", ">="]), ordinals),
    st.builds(Compare, paths, st.sampled_from(["^=", "=="]), texts),
)
properties = st.builds(Property, texts, st.sampled_from(["=", "!="]), st.one_of(texts, st.none()))


@given(trees(st.one_of(compares, properties)))
def test_any_tree_is_read_as_it_was_written(tree: Filter) -> None:
    assert parse(written(tree)) == tree


@given(st.text(st.sampled_from("ab1'\"()=<>!^ -:/_[]\\TZorandnulltruefalseproperty."), max_size=40))
def test_any_text_is_a_filter_or_a_filter_error(text: str) -> None:
    try:
        tree = parse(text)
    except FilterError:
        return
    assert parse(written(tree)) == tree


def leaves(tree: Filter) -> int:
    return fold(tree, lambda leaf: 1, lambda node, parts: sum(parts))


def alternating(levels: int) -> str:
    return "(a=1 and(b=2 or" * levels + " c=3" + "))" * levels


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (" or ".join(["a=1"] * 1000), 1000),
        (" and ".join(["a=1"] * 999 + ["b='=<>'"]), 1000),
        ("(" * 3000 + "a=1" + ")" * 3000, 1),
        ("(a=1 and " * 999 + "b=2" + ")" * 999, 1000),
        ("(" * 999 + "b=2" + " or a=1)" * 999, 1000),
        (alternating(499), 999),
    ],
)
def test_long_and_deep_filters_are_read(text: str, count: int) -> None:
    assert leaves(parse(text)) == count


def test_a_filter_has_a_thousand_comparisons_at_most() -> None:
    with pytest.raises(FilterError, match="more than 1000 comparisons"):
        parse(" or ".join(["a=1"] * 1001))


def calls_of(text: str) -> int:
    """Count the function calls of parsing, in Python and C: a measure that the load of the machine does not change."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        parse(text)
    except FilterError:
        pass
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(
    "make",
    [
        lambda n: " or ".join(["a=1"] * n),
        lambda n: "a=1" + " and(a=1 or b=2)" * n,
        lambda n: "(" * n + "a=1" + ")" * n,
        lambda n: "(" * n + "a=1",
        alternating,
        lambda n: "(a=1 and " * n + "b=2" + ")" * n,
    ],
)
def test_the_work_grows_with_the_text_and_no_faster(make: Callable[[int], str]) -> None:
    parse("a=1 or b=2")  # first calls set up lazily
    small, large = calls_of(make(200)), calls_of(make(1600))
    assert large < 8.5 * small


@pytest.mark.parametrize(
    "text",
    [
        "a" + "-" * 65000,
        "a='" + "\\a" * 32000,
        "a=" + "1-" * 32000,
        "a" * 65000,
        "a/" * 32000,
        "9" * 65000,
        "'" * 65000,
    ],
)
def test_no_token_is_searched_twice(text: str) -> None:
    """Unfinished tokens of 64 KB are refused at once: no regular expression backtracks."""
    with pytest.raises(FilterError):
        parse(text)
