"""Caches of names and acls have a limit in bytes, whatever clients send."""

from __future__ import annotations

import msgspec

from geventjob.server.store import attributes


def test_long_names_and_acls_are_not_remembered() -> None:
    names, acls = attributes._escaped, attributes._access
    short, long = "a/b" * 10, "a/b" * 100

    def acl(rules: int) -> bytes:
        owner = {"principal": "ann", "type": "USER"}
        rule = {"principal": f"user-{rules}", "type": "USER", "right": "VIEW"}
        return msgspec.json.encode({"owner": owner, "rules": [rule] * rules})

    names.cache_clear()
    acls.cache_clear()
    assert attributes.escaped(short) == "a%2Fb" * 10
    assert attributes.escaped(long) == "a%2Fb" * 100
    assert names.cache_info().currsize == 1
    for rules in (1, 100):
        assert attributes._of_acl(acl(rules))[0] == {"USER ann", f"USER user-{rules}"}
    assert acls.cache_info().currsize == 1
