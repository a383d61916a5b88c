"""The completion of `geventjob` in real shells."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fleet import until

BIN = Path(sys.executable).parent
WORDS = [("geventjob subm", "submit"), ("geventjob jobs --fai", "--failed"), ("geventjob-executor --thr", "--threads")]
SHOW = r"""
show() { print -r -- "<$BUFFER>"; BUFFER= }; zle -N show; bindkey '^X' show
autoload -U compinit; compinit -u -D; eval "$(geventjob completion zsh)"; PS1='go''> '
"""
"""Lets Ctrl-X print the line that the user edits, and clear the line."""


def run(*command: str) -> str:
    environ = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nonexistent"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "fish"):
        (folder / shell).write_text(run("geventjob", "completion", shell))
    return folder


@pytest.mark.parametrize(("words", "completed"), WORDS)
def test_bash(scripts: Path, words: str, completed: str) -> None:
    """As bash calls the function that the script declares."""
    command = words.split()[0]
    script = f"""eval "$(< {scripts / "bash"})"; declared=($(complete -p {command}))
        COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); ${{declared[-2]}}; echo ${{COMPREPLY[@]}}"""
    assert run("bash", "-c", script) == completed


@pytest.mark.parametrize(("words", "completed"), WORDS)
def test_fish(scripts: Path, words: str, completed: str) -> None:
    found = run("fish", "--no-config", "-c", f"source {scripts / 'fish'}; complete -C '{words}'")
    assert [line.partition("\t")[0] for line in found.splitlines()] == [completed]


def test_zsh() -> None:
    """At a terminal: zsh completes nowhere else."""
    terminal, own = pty.openpty()
    environ = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "TERM": "vt100"}
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=own, stdout=own, stderr=own, env=environ, start_new_session=True
    )
    said = ""

    def heard(text: str) -> bool:
        nonlocal said
        if select.select([terminal], [], [], 0.1)[0]:
            said += os.read(terminal, 65536).decode(errors="replace")
        return text in said

    try:
        os.write(terminal, SHOW.encode())
        until(lambda: heard("go> "), every=0.0)
        for words, completed in WORDS:
            os.write(terminal, f"{words}\t\x18".encode())
            wanted = f"<{words.rpartition(' ')[0]} {completed}"
            until(lambda: heard(wanted), every=0.0)  # noqa: B023  (called at once)
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)
        os.close(own)


def test_an_unknown_shell_is_told() -> None:
    done = subprocess.run([BIN / "geventjob", "completion", "fsh"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'fsh': did you mean fish?; expected one of bash zsh fish" in done.stderr
