"""Manual pages and shell completion of all commands, from their parsers."""

from __future__ import annotations

from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path

from argparse_manpage.manpage import Manpage

from geventjob import config
from geventjob.cli.completion import parsers, script

COMPLETION = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/vendor-completions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}
"""Shell → file below /usr/share with the completion of a command."""


def write(root: Path) -> None:
    """Write the pages, and the completion for each shell, below `root`."""
    for name, parser in {**parsers(), "geventjob-up": config.OptionParser("up")}.items():
        save(root / "usr/share/man/man1" / f"{name}.1", page(parser))
    for name, parser in parsers().items():
        for shell, file in COMPLETION.items():
            save(root / "usr/share" / file.format(name), script(parser, shell))


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
