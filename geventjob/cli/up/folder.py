"""The data folder of `geventjob up`: its locks, log-ins, and an ini file for each child."""

from __future__ import annotations

import secrets
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from geventjob import config
from geventjob.cimi.client import Client
from geventjob.cimi.errors import LoginRefused
from geventjob.cli.errors import UsageError
from geventjob.cli.up.locks import free_port, lock_file, lock_port
from geventjob.config import ini
from geventjob.config.options import default_data_dir
from geventjob.ownership import Unsafe, private_folder, write_private


class DataFolder:
    """The data folder, with the settings of the children."""

    def __init__(self, settings: config.Settings) -> None:
        """Complete the settings: absolute data folder, log folder, a free port for `--port 0`, drop-in folders."""
        self.path = Path(settings.data_dir).absolute()
        settings.data_dir = str(self.path)
        settings.log_dir = settings.log_dir or str(self.path / "log")
        settings.port = settings.port or free_port(settings.host)
        self.url = f"http://{settings.host}:{settings.port}"
        self.log_dir = Path(settings.log_dir)
        self.actions_dir = self.path / "actions"
        self.distributors_dir = self.path / "distributors"
        self.client_ini = self.path / "client.ini"
        self._password_file = self.path / "admin-pass"
        self._settings = settings
        self._locks: list[int] = []
        self._logins: dict[str, str] = {}
        """Command → lines with its log-in, at the top of its ini file."""
        self._add_folders()

    def _add_folders(self) -> None:
        """Put the folders of the data folder before other folders of actions and distributors."""
        settings = self._settings
        settings.actions_dir = list(dict.fromkeys([str(self.actions_dir), *settings.actions_dir]))
        settings.distributors_dir = list(dict.fromkeys([str(self.distributors_dir), *settings.distributors_dir]))

    def prepare(self) -> None:
        """Make the folders, take the locks and write the log-in of clients. Raises UsageError."""
        try:
            private_folder(self.path)
            for folder in (self.log_dir, self.actions_dir, self.distributors_dir):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._locks += [lock_file(self.path / "up.lock"), lock_port(self._settings.port)]
            self._write_client_ini()
        except Unsafe as unsafe:
            raise UsageError(f"--data-dir: {unsafe.strerror}") from None
        except OSError as error:
            raise UsageError(f"--data-dir {self.path}: {error.strerror}") from None

    def _write_client_ini(self) -> None:
        """Write the log-in of clients, with a new password at the first start. Raises OSError."""
        if not self._password_file.exists():
            write_private(self._password_file, secrets.token_urlsafe(24) + "\n")
        login = f"ss-url = {self.url}\nss-user = super\n" + ini.line("ss-pass", self._password())
        write_private(self.client_ini, login)

    def _password(self) -> str:
        return self._password_file.read_text().strip()

    def write_server_ini(self) -> Path:
        """Write the ini file of the server, and return its path. Raises OSError."""
        return self._write_ini("server", f"admin-pass-file = {self._password_file}\n")

    def write_worker_ini(self, command: str) -> Path:
        """Write the ini file of executor or distributor, which logs in by password, and return its path."""
        return self._write_ini(command, self.client_ini.read_text())

    def _write_ini(self, command: str, login: str) -> Path:
        self._logins[command] = login
        file = self.path / f"{command}.ini"
        write_private(file, login + config.as_ini(self._settings, command))
        return file

    def write_again(self) -> None:
        """Write the ini files of the children from settings that SIGHUP has changed. Raises OSError."""
        self._add_folders()
        for command, login in self._logins.items():
            self._write_ini(command, login)

    def use_key(self) -> None:
        """Let executor and distributor log in by an API key, which never waits after wrong passwords of others.

        Raises CimiError; the children then go on with the password.
        """
        secret_file = self.path / "fleet-secret"
        key = self._key(self.path / "fleet-key", secret_file)
        for command in ("executor", "distributor"):
            self._write_ini(command, f"ss-url = {self.url}\nss-key = {key}\nss-secret-file = {secret_file}\n")

    def _key(self, key_file: Path, secret_file: Path) -> str:
        """Return the id of the API key in these files; make a key where none is valid. Raises CimiError."""
        if key_file.exists() and secret_file.exists():
            key, secret = key_file.read_text().strip(), secret_file.read_text().strip()
            with Client(self.url, key=key, secret=secret, timeout=(1, 5)) as client, suppress(LoginRefused):
                client.search("job", last=0)
                client.log_out()
                return key
        with Client(self.url, "super", self._password(), timeout=(1, 5)) as client:
            made = client.new_key(name="geventjob up")
            client.log_out()
        write_private(secret_file, made.secret + "\n")
        write_private(key_file, made.id + "\n")
        return made.id

    @property
    def command_line(self) -> str:
        """The text to type for `geventjob` in another terminal: a path where PATH lacks it, `-c` where needed."""
        beside = Path(sys.executable).parent / "geventjob"
        command = "geventjob" if shutil.which("geventjob") else str(beside)
        return command if self.path == Path(default_data_dir()) else f"{command} -c {self.client_ini}"
