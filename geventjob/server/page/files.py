"""The files of the page: a document, a style sheet, and the modules joined into one script.

A browser fetches modules one after another as it finds the imports, so a page of many small modules takes many round
trips. `joined` makes one module of them at the start of the server: a module follows those that it imports, and loses
its imports and the word `export`. The modules must therefore import by `import { name } from "./file.js";` on one
line, and no two of them may declare the same name: the browser refuses such a script, and every test of the page fails.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

FIRST = "main.js"
"""The module from which all others are imported."""
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


@dataclass(frozen=True)
class PageFile:
    """A file with its media type."""

    media_type: str
    data: bytes

    @cached_property
    def packed(self) -> bytes:
        """The data in gzip, a third of the bytes."""
        return gzip.compress(self.data, mtime=0)


def page_files() -> dict[str, PageFile]:
    """Return the files of the page by their paths. Raises OSError."""
    return {
        "/ui": PageFile("text/html; charset=utf-8", _text("index.html").encode()),
        "/ui/page.css": PageFile("text/css; charset=utf-8", _text("page.css").encode()),
        "/ui/page.js": PageFile("text/javascript; charset=utf-8", joined(_text, FIRST).encode()),
    }


def joined(read: Callable[[str], str], first: str) -> str:
    """Return a module and all modules that it imports as one module. `read`: returns the text of a file."""
    texts: dict[str, str] = {}

    def add(name: str) -> None:
        if name in texts:
            return
        texts[name] = ""
        text = read(name)
        for imported in _IMPORT.findall(text):
            add(imported)
        del texts[name]
        texts[name] = f"// {name}\n" + _EXPORT.sub("", _IMPORT.sub("", text))

    add(first)
    return "\n".join(texts.values())


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
