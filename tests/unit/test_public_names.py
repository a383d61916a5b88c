"""The names of `import geventjob`."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import geventjob


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_public_name_is_there() -> None:
    for name in geventjob.__all__:
        assert getattr(geventjob, name) is not None
    assert set(geventjob.__all__) <= set(dir(geventjob))
    assert geventjob.__version__ == version("geventjob")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        geventjob.nonsense  # noqa: B018


def test_a_client_brings_neither_gevent_nor_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # coverage would import gevent
    code = "import sys; from geventjob import Client; Client('http://h'); print('gevent' in sys.modules)"
    assert run(code).strip() == "False"
