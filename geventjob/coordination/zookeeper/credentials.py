"""The files of log-in and TLS. Errors name the option and the path, never the content of a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from gevent import ssl

from geventjob.coordination.base import CoordinationError

log = logging.getLogger(__name__)

LONGEST = 4096


def read_login(path: str) -> tuple[str, str]:
    """Return user and password of the digest scheme, from a file with `user:password` on its only line."""
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                log.warning("zk-auth-file: %s can be read by other users; use chmod 600", path)
            text = file.read(LONGEST).removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CoordinationError(f"zk-auth-file: {path}: {getattr(error, 'strerror', 'no UTF-8')}") from None
    user, colon, password = text.partition(":")
    if not (user and colon and password and text.isprintable()):
        raise CoordinationError(f"zk-auth-file: {path}: user:password on one line expected")
    return user, password


def tls_context(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext | None:
    """Return the TLS context for connections to servers whose certificate has their name and is signed by an authority
    in `ca`.

    None if no file is named. Without `ca` the system's authorities count. The key may be in the file of `cert`.
    """
    if not (ca or cert or key):
        return None
    if key and not cert:
        raise CoordinationError("zk-tls-key: a key without its certificate, zk-tls-cert")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        _load("zk-tls-ca", ca, lambda: context.load_verify_locations(ca))
    else:
        context.load_default_certs()
    if cert:
        option = "zk-tls-key" if key else "zk-tls-cert"
        _load(option, key or cert, lambda: context.load_cert_chain(cert, key, _no_password))
    return context


def _load(option: str, path: str, load: Callable[[], None]) -> None:
    try:
        load()
    except OSError as error:  # TLS errors are OSErrors
        reason = "no usable PEM file" if isinstance(error, ssl.SSLError) else error.strerror
        raise CoordinationError(f"{option}: {path}: {reason}") from None


def _no_password() -> str:
    raise CoordinationError("zk-tls-key: the key has a password; one without is expected")
