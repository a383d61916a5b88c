"""The methods of gevent's pywsgi that our subclasses override, replicate or rely on, each by its hash.

A new version of gevent that changes a method fails here. Read the change (`git log -p src/gevent/pywsgi.py` in gevent's
repository), follow it in `geventjob/server/http` where it guards something, and add the new hash to KNOWN.
"""

from __future__ import annotations

import inspect
from functools import reduce
from hashlib import sha256

import gevent
import pytest
from gevent import pywsgi

KNOWN: dict[str, set[str]] = {
    "Input": {"a0b01b5ae1bae5fe"},
    "OldMessage": {"7d36d3425c465cee"},
    "WSGIHandler.__init__": {"c3d9e1009c3a0d6a"},
    "WSGIHandler.handle": {"9e7238affc125354"},
    "WSGIHandler._check_http_version": {"9c7624a692253a35"},
    "WSGIHandler.read_request": {"b1702b63da71633f"},
    "WSGIHandler.read_requestline": {"72173107a177f9b3"},
    "WSGIHandler.handle_one_request": {"14e946e9fb33cbb8"},
    "WSGIHandler.handle_one_response": {"16fcb501fa891f23"},
    "WSGIHandler.get_environ": {"fbd39b74e42d7dbf"},
    "WSGIHandler._headers": {"5575828695b50513"},
    "WSGIHandler._connection_upgrade_requested": {"2b997eb190d9a5f5"},
    "WSGIHandler.start_response": {"4b6599df51bcbc09"},
    "WSGIHandler.finalize_headers": {"ccf1b112eeacee4f"},
    "WSGIHandler.write": {"5e014075791d24e0"},
    "WSGIHandler._write": {"b6ab2ebe4b1bea37"},
    "WSGIHandler._write_with_headers": {"5ccb48bf841cd3fa"},
    "WSGIHandler._sendall": {"fa086148722693ca"},
    "WSGIHandler.process_result": {"9752185381512541"},
    "WSGIHandler.run_application": {"46cef793ff43fe1a"},
    "WSGIHandler._send_error_response_if_possible": {"a50f722fd0d5d71f"},
    "WSGIHandler.handle_error": {"26bd9fca7d99887c"},
    "WSGIHandler._log_error": {"5d0c01d7df1d1e19"},
    "WSGIHandler._handle_client_error": {"a3fbde482b69b9fd"},
    "WSGIHandler.log_request": {"683e087cb66ab3c0"},
    "WSGIServer.update_environ": {"dfa5ec6e3aa3530b"},
    "WSGIServer.handle": {"2f3079ba9ee5bdd2"},
    "WSGIServer.do_read": {"6cb23b7571a826b5"},
    "WSGIServer.do_handle": {"a7060ef181a224fe"},
    "WSGIServer._do_read": {"6a5f2ba39cbd19d8"},
    "WSGIServer._start_accepting_if_started": {"a526c006e85d5116"},
}


@pytest.mark.parametrize("name", KNOWN)
def test_pywsgi_is_the_version_that_our_code_was_compared_with(name: str) -> None:
    found = digest(name)
    assert found in KNOWN[name], (
        f"gevent {gevent.__version__} changed pywsgi.{name}: compare it with geventjob/server/http, take over what it"
        f" guards now, and add {found!r} to KNOWN"
    )


def digest(name: str) -> str:
    """Return the hash of the source of a method of pywsgi."""
    return sha256(inspect.getsource(reduce(getattr, name.split("."), pywsgi)).encode()).hexdigest()[:16]
