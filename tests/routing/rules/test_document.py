"""The text of a ruleset, and the digest of what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.names import MAX_DOCUMENT_BYTES
from control_plane.routing.rules.digest import rules_digest
from control_plane.routing.rules.document import load, read_stored, text_of
from control_plane.routing.rules.problems import RulesetError

RULES: list[dict[str, Any]] = [{"id": "a", "action": "proxy"}]


@pytest.mark.parametrize("document", [RULES, {"rules": RULES}])
def test_text_bytes_and_what_was_read_are_the_same(document: Any) -> None:
    text = json.dumps(document)
    for given_as in (document, text, text.encode(), json.dumps(document, indent=3)):
        assert load(given_as) == {"rules": RULES}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        ('[{"id": "a", "id": "b"}]', "stands twice"),
        ("7", "a ruleset is an object"),
        ('{"rules": [NaN]}', "NaN is no finite number"),
        ('{"version": Infinity}', "Infinity is no finite number"),
        ('{"version": -Infinity}', "-Infinity is no finite number"),
        ('{"version": 1e999}', "1e999 is no finite number"),
        ('{"version": ' + "[" * 40 + "]" * 40 + "}", "more than 32 deep"),
        (" " * (MAX_DOCUMENT_BYTES + 1), "too large"),
    ],
)
def test_what_is_no_ruleset(text: str | bytes, message: str) -> None:
    with pytest.raises(RulesetError, match=message):
        load(text)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_lacks_is_refused_in_what_was_read_elsewhere(number: float) -> None:
    for refuses in (load, text_of):
        with pytest.raises(RulesetError, match="not finite"):
            refuses({"rules": [{"id": [number]}]})


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"a": [NaN, -Infinity, 1e999, 1.5]}', {"a": ["NaN", "-Infinity", "1e999", 1.5]}),
        ("no JSON", "no JSON"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_whatever_is_stored_can_be_shown(text: str, document: Any) -> None:
    assert read_stored(text) == document
    json.dumps(read_stored(text), allow_nan=False)


@given(st.text(max_size=5), st.text(max_size=5))
def test_names_do_not_count_for_the_digest_and_rules_do(name: str, rule: str) -> None:
    one = {"rules": [{"id": rule}], "name": name}
    assert rules_digest(one) == rules_digest({"description": name, "rules": [{"id": rule}]})
    assert rules_digest(one) != rules_digest({"rules": [{"id": rule + "x"}]})
    assert rules_digest(one) != rules_digest(one | {"defaults": {"on_unknown": 404}})
