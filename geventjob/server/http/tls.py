"""TLS of the server's port: the certificate, and the handshake of a connection."""

from __future__ import annotations

import contextlib
import os
import ssl
from typing import Any

from gevent.ssl import SSLContext, SSLSocket

from geventjob.server.http.early_response import whole_response
from geventjob.server.problem import Problem


class CertificateError(Exception):
    """A certificate or key that cannot be used; the text names the option."""


def load(certificate: str, key: str | None) -> SSLContext:
    """Return TLS 1.2 or newer with the certificate and its chain in a PEM file; `key`: PEM file, None: the same.

    Raises CertificateError.
    """
    context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could make the server compute without end
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        names = f"--tls-cert {certificate}" + (f" --tls-key {key}" if key else "")
        said = (error.reason or "no certificate and key in PEM form").lower().replace("_", " ")
        raise CertificateError(f"{names}: {said}; expected PEM files of a certificate and its key") from None
    except OSError as error:
        raise CertificateError(f"--tls-cert, --tls-key: cannot read {certificate}: {error.strerror}") from None
    return context


def _no_password() -> str:
    """Refuse an encrypted key: without this function OpenSSL would ask at the terminal."""
    raise CertificateError("--tls-key: the key is encrypted; expected a key without a password, which only we can read")


def wrapped(sock: Any, context: SSLContext) -> SSLSocket:
    """Return a socket that takes over the connection and has sent nothing yet."""
    made: SSLSocket = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    return made


def shake_hands(sock: SSLSocket) -> None:
    """Carry out the handshake. A client that speaks HTTP without TLS gets a 400 in words. Raises OSError."""
    try:
        sock.do_handshake()
    except ssl.SSLError as error:
        if error.reason == "HTTP_REQUEST":
            _, response = whole_response(Problem(400, "this port speaks HTTPS: expected https:// in place of http://"))
            with contextlib.suppress(OSError):
                os.write(sock.fileno(), response)
        raise
