"""Environment files: values and words as systemd 252 read them (`systemctl start` of a unit that printed its argv)."""

from __future__ import annotations

import pytest

from geventjob.config.environment import variables, warnings, words

FILE = r"""# c \
still comment
A='--a=b --c d'  # note
export X=1
B = plain words \
  more
C="x \" y"z
D=it's
E='--ss-pass=it's --zk=x'
F=a\\b "q"
G="two
lines" 'and' "more\n"
no assignment
H=one
H=two
I=
"""
READ = {
    "A": ("--a=b --c d# note", ["--a=b", "--c", "d#", "note"]),
    "B": ("plain words   more", ["plain", "words", "more"]),
    "C": ('x " yz', ["x", " yz"]),
    "D": ("it's", ["its"]),
    "E": ("--ss-pass=its --zk=x'", ["--ss-pass=its", "--zk=x"]),
    "F": ('a\\b "q"', ["ab", "q"]),
    "G": ("two\nlinesandmore\\n", ["two", "linesandmoren"]),
    "H": ("two", ["two"]),
    "I": ("", []),
}


def test_no_other_variables_are_read() -> None:
    assert list(variables(FILE)) == list(READ)


@pytest.mark.parametrize("name", READ)
def test_a_value_and_its_words_are_those_of_systemd(name: str) -> None:
    value, argv = READ[name]
    assert variables(FILE)[name] == value
    assert words(value) == argv


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("DAEMON_ARGS='--a' # note", "line 2: the comment behind the value becomes a part of the value"),
        ("DAEMON_ARGS='--ss-pass=it's --b'", "line 2: an open quote joins the options behind it into one value"),
        ('DAEMON_ARGS="--ss-pass=it\'s --b"', "line 2: an open quote joins the options behind it into one value"),
        ("DAEMON_ARGS='--ss-pass=it's --name=don't'", "line 2: the value goes on behind the quote that closes it"),
        ("DAEMON_ARGS='--ss-pass-file=%d/pass'", "line 2: systemd replaces %d in the lines of a unit alone"),
        ("export DAEMON_ARGS=x", "line 2: 'export DAEMON_ARGS' is no name of a variable"),
        ("--threads 8", "line 2: no '=': the line is ignored"),
    ],
)
def test_what_is_probably_not_meant_is_told(line: str, warning: str) -> None:
    (told,) = warnings(f"# a comment, it's fine\n{line}\n")
    assert told.startswith(warning)


def test_a_file_in_good_order_has_no_warning() -> None:
    assert warnings("# it's a comment\n\nDAEMON_ARGS='--ss-url=https://h --threads=8 --name=\"a b\"'\nB=plain\n") == []
    escaped = """DAEMON_ARGS="--ss-pass=it\\\\'s --threads=8"\n"""
    assert warnings(escaped) == []
    assert words(variables(escaped)["DAEMON_ARGS"]) == ["--ss-pass=it's", "--threads=8"]
