"""What is written piece by piece is the same JSON as what is written at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.api.rendering import rendered

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values))
def test_pieces_make_the_same_document(document: dict[str, Any]) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    answer = rendered(document, 201, {"etag": '"1"'})
    assert json.loads(bytes(answer.body)) == document
    assert (answer.status_code, answer.headers["etag"]) == (201, '"1"')
    assert answer.headers["content-type"] == "application/json"


def test_no_piece_writes_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        rendered({"items": [float("nan")]})
