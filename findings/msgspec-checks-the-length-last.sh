#!/usr/bin/env bash
# msgspec 0.22.0 checks the max_length of a list after the last item, not while the items come. A bound on the list therefore
# bounds neither the work nor the memory of decoding: these follow the size of the body. The error shows it: a list of 4 items
# with max_length=2 whose fourth item has a wrong type is refused for the item, not for its length. To bound the work, bound
# the body.
#
# Seen: [1, 2, 3] "Expected `array` of length <= 2"; [1, 2, 3, "x"] "Expected `int`, got `str` - at `$[3]`"
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check msgspec==0.22.0
"$folder/venv/bin/python" - <<'PYTHON'
from typing import Annotated

import msgspec

Two = Annotated[list[int], msgspec.Meta(max_length=2)]


def refusal(document):
    try:
        msgspec.json.decode(document, type=Two)
    except msgspec.ValidationError as error:
        return str(error)


for document, expected in (
    (b"[1, 2, 3]", "Expected `array` of length <= 2"),
    (b'[1, 2, 3, "x"]', "Expected `int`, got `str` - at `$[3]`"),
):
    found = refusal(document)
    print(document.decode(), found)
    assert found == expected, "this has changed"
PYTHON
