"""Manual pages and shell completion of all commands, from their parsers."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage

from geventjob import config
from geventjob.cli.command_tree import CommandTree


def parsers() -> dict[str, ArgumentParser]:
    """Return the parser of each command, by the name of its manual page."""
    daemons = {
        f"geventjob-{command}": config.OptionParser(command) for command in ("executor", "distributor", "server")
    }
    tree = CommandTree()
    tree.load()
    return {"geventjob": tree.parser, "geventjob-up": config.OptionParser("up"), **daemons}


def write(root: Path) -> None:
    """Write the pages and the completion for bash and zsh below `root`."""
    for name, parser in parsers().items():
        save(root / "usr/share/man/man1" / f"{name}.1", page(parser))
        if name != "geventjob-up":
            save(root / "usr/share/bash-completion/completions" / name, shtab.complete(parser, "bash"))
            save(root / "usr/share/zsh/vendor-completions" / f"_{name}", shtab.complete(parser, "zsh"))


def page(parser: ArgumentParser) -> str:
    """Return the manual page of this parser."""
    about = {"project_name": "geventjob", "version": version("geventjob"), "manual_title": "geventjob"}
    text = str(Manpage(parser, about, format="single-commands-section"))
    name = parser.prog.replace("-", r"\-")
    return text.replace(f".SH NAME\n{name}\n", f".SH NAME\n{name} \\- {parser.description}\n")


def save(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o644)
