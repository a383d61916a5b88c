"""Each attribute of a job is declared once: every part of the product follows the table."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from geventjob.cimi.dialects import translation
from geventjob.cimi.errors import Invalid
from geventjob.job import attributes as table
from geventjob.job import reference
from geventjob.job.attributes import ATTRIBUTES, SLIPSTREAM, Attribute, Type
from geventjob.job.copies import like
from geventjob.server.life.schema import Job, SchemaError, validate_add, validate_edit
from geventjob.server.store.attributes import FRACTIONS, NOT_SEARCHED, PROSE, SINGLE, searched, terms, type_of
from geventjob.server.store.elasticsearch import mapping
from geventjob.server.store.sqlite.rows import COLUMNS
from tests.support.slipstream_rules import ATTRIBUTES as SLIPSTREAMS

TOP = Path(__file__).parents[2]
EACH = pytest.mark.parametrize("attribute", [pytest.param(one, id=one.name) for one in ATTRIBUTES])


def other(attribute: Attribute) -> Any:
    return attribute.type.examples[1]


@EACH
def test_the_schema_takes_both_examples_and_leaves_out_what_is_not_the_clients(attribute: Attribute) -> None:
    assert attribute.type.examples[0] != attribute.type.examples[1]
    for value in attribute.type.examples:
        sent = {"action": "a", attribute.name: value}
        kept = {name: sent[name] for name in ("action", attribute.name)}
        assert validate_add(sent) == ({"action": "a"} if not attribute.sent else kept)
        assert validate_edit({attribute.name: value}) == ({attribute.name: value} if "edit" in attribute.sent else {})


@EACH
def test_the_schema_names_the_type_of_a_wrong_value(attribute: Attribute) -> None:
    if attribute.type.checked is Any:
        assert attribute.name in table.SET_BY_SERVER
        return
    with pytest.raises(SchemaError, match=re.escape(f"{attribute.name}: expected {attribute.type.words}")):
        validate_edit({attribute.name: 1j})


@EACH
def test_both_stores_search_it_by_its_type(attribute: Attribute) -> None:
    path = attribute.path
    assert searched(path) == (attribute.search is not None)
    assert type_of(path) == (attribute.search or Type.TERMS)
    assert (path in COLUMNS) == attribute.indexed
    fields = mapping._FIELDS
    single = attribute.search not in (None, Type.TERMS)
    assert ("/".join(path) in fields) == single
    if single:
        assert (fields["/".join(path)]["type"] == "double") == attribute.fraction == (path in FRACTIONS)
    elif attribute.search and attribute.name != "acl":
        found = {term.partition("=")[0].partition("/")[0] for term in terms({attribute.name: other(attribute)})}
        assert found - {"fulltext"} == {attribute.name}


@EACH
def test_its_words_are_found(attribute: Attribute) -> None:
    assert (attribute.name in PROSE) == attribute.words
    if attribute.name == "acl":
        return
    found = any(term.startswith("fulltext=") for term in terms({attribute.name: other(attribute)}))
    assert found == attribute.words


@EACH
def test_rerun_copies_it(attribute: Attribute) -> None:
    job = like({attribute.name: other(attribute)})
    assert job == ({attribute.name: other(attribute)} if attribute.rerun else {})


@EACH
def test_slipstreams_server_gets_only_what_its_schema_has(attribute: Attribute) -> None:
    assert attribute.slipstream in SLIPSTREAM
    assert (attribute.slipstream in ("set", "added", "own")) == (attribute.name in SLIPSTREAMS)
    job = {attribute.name: other(attribute)}
    if attribute.slipstream in ("set", "added"):
        assert translation.addable(job) == job
    elif attribute.slipstream == "dropped":
        assert translation.addable(job) == {}
    else:
        with pytest.raises(Invalid, match=f"{attribute.name}: "):
            translation.addable(job)


def test_no_attribute_stands_twice_and_no_place_knows_another() -> None:
    names = [attribute.name for attribute in ATTRIBUTES]
    assert len(set(names)) == len(names)
    assert list(Job.__struct_fields__) == names
    assert {path[0] for path in SINGLE} <= {*names, "username", "expiry"}
    assert {path[0] for path in COLUMNS} <= set(names)
    assert {"payload"} <= NOT_SEARCHED <= set(names)


def test_the_page_is_up_to_date() -> None:
    assert (TOP / reference.PAGE).read_text() == reference.page(), "run `make reference`"


def test_a_label_is_named_in_the_table_and_by_its_own_option_only() -> None:
    """`tags` has no logic but the option `--tag` and the parameter of `Client.submit`."""
    files = [path for path in (TOP / "geventjob").rglob("*.py") if re.search(r"\btags\b", path.read_text())]
    assert {str(path.relative_to(TOP)) for path in files} == {
        "geventjob/job/attributes.py",
        "geventjob/cli/job_options.py",
        "geventjob/cimi/client.py",
        "geventjob/job/types.py",
    }


NEW_ROW = """
from pathlib import Path
import sys, types
import geventjob.job

source = Path(geventjob.job.__file__).with_name("attributes.py").read_text()
row = '    Attribute("colours", types.TAG_LIST, "colours of the job", after_end=True, words=True, rerun=True),\\n'
assert source.count(")  # fmt: skip") == 1
module = types.ModuleType("geventjob.job.attributes")
sys.modules[module.__name__] = geventjob.job.attributes = module
exec(compile(source.replace(")  # fmt: skip", row + ")"), "attributes.py", "exec"), module.__dict__)

from datetime import datetime, timezone
from geventjob.cimi.dialects import translation
from geventjob.cimi.errors import Invalid
from geventjob.job.copies import like
from geventjob.job import reference
from geventjob.server.filter import parse
from geventjob.server.life.changes import added, changed
from geventjob.server.jobs.lifecycle import Edit, edited
from geventjob.server.life.schema import validate_add
from geventjob.server.store.base import Insert, Query
from geventjob.server.store.sqlite import SqliteStore

now = datetime.now(timezone.utc)
body = validate_add({"action": "a", "colours": ["red", "deep blue"]})
job = changed(added(body, id="job/1", now=now, acl={"owner": {"principal": "a", "type": "USER"}}),
              {"state": "FAILED"}, (), now)
job = edited(job, Edit({"colours": ["red", "light green"]}), now=now)
assert like(job)["colours"] == ["red", "light green"]
try:
    translation.addable(body)
except Invalid as error:
    assert "colours" in str(error)
else:
    raise AssertionError("SlipStream has no such attribute")
store = SqliteStore(Path(sys.argv[1]))
store.start()
store.write([Insert(job)])
for filter, count in (("colours='red'", 1), ("colours='blue'", 0), ("fulltext=='green'", 1), ("fulltext=='blue'", 0)):
    assert store.search("job", Query(parse(filter))).count == count, filter
store.close()
assert "| `colours` | colours of the job |" in reference.page()
"""


def test_a_new_attribute_is_a_row_of_the_table_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NEW_ROW, str(tmp_path / "store.db")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
