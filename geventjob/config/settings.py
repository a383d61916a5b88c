"""The settings of a command, as an object that can be printed without showing a secret."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from geventjob.title import LOGIN

SECRET_FILES = {
    "admin-pass-file": "admin_pass",
    "es-pass-file": "es_pass",
    "es-api-key-file": "es_api_key",
}
"""Options that name the file of a secret → the setting that holds the secret itself."""
SECRETS = {"ss_pass", "ss_secret", *SECRET_FILES.values()}
"""The settings that are never shown."""


class Settings(Namespace):
    """The settings of a command. Printing them shows no secret."""

    def _get_kwargs(self) -> list[tuple[str, Any]]:
        return [(name, "***" if name in SECRETS and value else value) for name, value in vars(self).items()]

    def __repr__(self) -> str:
        return LOGIN.sub("://***@", super().__repr__())
