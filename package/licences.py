"""The page of the licences of all that the packages hold, from the metadata of the installed distributions."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

TOP = """This package holds these distributions of Python, each with its version and declared licence; the texts follow.
Libraries in C inside the wheels are under the licences of their authors: libev, libuv and c-ares in gevent, libffi in
cffi, Argon2 in argon2-cffi-bindings.
"""
TEXTS = ("LICEN", "COPYING", "NOTICE", "AUTHORS")
"""Beginnings of the names of files with licences and authors."""
CLASSIFIER = "License :: OSI Approved :: "


def page(home: Path) -> str:
    """Return the page for a virtual environment. Raises SystemExit for a distribution that declares no licence."""
    found = sorted(distributions(path=[str(path) for path in home.glob("lib/python*/site-packages")]), key=name)
    table = "".join(f"{name(each)} {each.version}: {licence(each)}\n" for each in found)
    return TOP + "\n" + table + "".join(text for each in found for text in texts(each))


def name(found: Distribution) -> str:
    return found.metadata["Name"].lower()


def licence(found: Distribution) -> str:
    """Return the declared licence: the expression, else the text of one line, else the classifiers."""
    metadata = found.metadata
    classifiers = [line for line in metadata.get_all("Classifier", []) if line.startswith(CLASSIFIER)]
    shown = ", ".join(line.removeprefix(CLASSIFIER) for line in classifiers)
    declared = metadata.get("License-Expression") or metadata.get("License") or shown
    if not declared:
        raise SystemExit(f"{name(found)} declares no licence")
    return declared if "\n" not in declared else shown


def texts(found: Distribution) -> Iterator[str]:
    """Yield the files with licences and authors, each below a line with its name."""
    for file in found.files or ():
        if ".dist-info" in file.parts[0] and file.name.upper().startswith(TEXTS):
            yield f"\n{'=' * 72}\n{name(found)}: {file.name}\n\n{file.read_text().strip()}\n"
