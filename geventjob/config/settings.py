"""The settings of a command. Printing them shows no secret."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from geventjob.masking import mask_logins

SECRET_FILES = {
    "admin-pass-file": "admin_pass",
    "es-pass-file": "es_pass",
    "es-api-key-file": "es_api_key",
    "metrics-token-file": "metrics_token",
}
"""Option with the file of a secret → setting with the secret itself."""
SECRETS = {"ss_pass", "ss_secret", *SECRET_FILES.values()}
"""Settings that are never shown."""


class Settings(Namespace):
    """The settings of a command. Printing them shows no secret."""

    def _get_kwargs(self) -> list[tuple[str, Any]]:
        return [(name, "***" if name in SECRETS and value else value) for name, value in vars(self).items()]

    @property
    def logging(self) -> dict[str, Any]:
        """The arguments of `log.configure`."""
        return {
            "log_dir": self.log_dir,
            "level": self.log_level,
            "rotate": not self.no_log_rotation,
            "form": self.log_format,
            "jobs": self.log_jobs,
        }

    def __repr__(self) -> str:
        return mask_logins(super().__repr__())
