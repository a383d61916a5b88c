"""Connections through requests, for addresses behind TLS or a proxy."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import BytesIO

import requests
import requests.adapters
import urllib3.exceptions
from requests.utils import get_environ_proxies

from geventjob.cimi.connections import CHUNK, Answer, Check, NoAnswer, NoConnection


class RequestsConnections:
    """See `ConnectionPool`."""

    def __init__(self, address: str, most: int, timeout: tuple[float, float], verify: bool | str) -> None:
        """Connect to nothing yet. `verify`: as in requests."""
        self._address = address
        self._timeout = timeout
        self._verify = verify
        self._proxies = get_environ_proxies(address)
        self._adapter = requests.adapters.HTTPAdapter(1, most, pool_block=True)
        if not verify:
            warnings.filterwarnings("ignore", category=urllib3.exceptions.InsecureRequestWarning)

    @contextmanager
    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, check: Check | None
    ) -> Iterator[Answer]:
        """See `ConnectionPool.send`."""
        data = _Checked(body, check) if body and check else body
        prepared = requests.Request(method, self._address + target, headers=dict(headers), data=data or None).prepare()
        verify = self._environment_ca() if self._verify is True else self._verify
        try:
            response = self._adapter.send(
                prepared, stream=True, timeout=self._timeout, verify=verify, proxies=self._proxies
            )
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise _failure(error) from error
        read = getattr(response.raw, "read1", response.raw.read)  # urllib3 before 2.1 can only wait for a whole chunk
        parts = iter(partial(read, CHUNK, decode_content=True), b"")
        try:
            cookies = response.raw.headers.getlist("Set-Cookie")
            yield Answer(response.status_code, response.headers, cookies, _in_errors_of_the_system(parts))
        finally:
            response.close()

    def close(self) -> None:
        """See `ConnectionPool.close`."""
        self._adapter.close()

    def _environment_ca(self) -> bool | str:
        """Return the certificates of the environment, as a session of requests would use them. `.netrc` is not read."""
        return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True


class _Checked(BytesIO):
    """A body that is checked as it leaves, when a connection exists and half the request may be sent already.

    Finding a connection may take long, above all if the process is stopped meanwhile. No server obeys a request whose
    body does not end.
    """

    def __init__(self, body: bytes, check: Check) -> None:
        super().__init__(body)
        self._check = check

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        if part:  # an empty part: the body has left
            self._check()
        return part


def _failure(error: Exception) -> OSError:
    """Return the error of a request without an answer."""
    if isinstance(error, requests.exceptions.ReadTimeout):
        return TimeoutError(error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        failure = NoConnection(error)
        failure.__cause__ = TimeoutError()
        return failure
    if error.args and isinstance(error.args[0], urllib3.exceptions.ProtocolError):
        return NoAnswer(error)
    return NoConnection(error)


def _in_errors_of_the_system(parts: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from parts
    except urllib3.exceptions.ReadTimeoutError as error:
        raise TimeoutError(error) from error
    except urllib3.exceptions.HTTPError as error:
        raise OSError(error) from error
