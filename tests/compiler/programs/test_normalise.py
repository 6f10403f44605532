"""Names are spelled by the module as the topology spells them."""

from __future__ import annotations

import random

import pytest

from control_plane.routing.rules.parse import parse
from control_plane.topology.values.claim_key import normalised_or_none
from tests.compiler.programs.comparison import Comparison, some_cells
from tests.compiler.programs.module_host import OWNED
from tests.compiler.programs.requests import Fields

PLAIN = {
    "route": ["Gitlab-Org", "/acme/", "a b", "//"],
    "username": [" Bob ", "x;y", "  "],
    "email": ["Ann@Example.COM.", " a+b@x1.example", "nobody", "@x.example", "a@", "a@b@c.example"],
    "host": ["ACME.example.", " a_b.example ", "x", "a.0y"],
    "project_id": [
        "42",
        "007",
        "0",
        "9223372036854775807",
        "9223372036854775808",
        "4 2",
        "x",
        " 5 ",
    ],
    "ssh_key": ["AAAA B", " x "],
    "of_our_own": [" X ", "a/b"],
}
"""Values of each bucket for which there must be an answer, whatever it is."""
CHARS = "aAzZ09.-_@/ +%:\"'()\\x[]~\t" + 4 * "abc.@ 0"
COUNT = 2500


@pytest.mark.parametrize("bucket", PLAIN)
def test_values_are_spelled_as_the_topology_spells_them(bucket: str) -> None:
    choose = random.Random(bucket)
    values = PLAIN[bucket] + [
        "".join(choose.choices(CHARS, k=choose.randint(1, 9))) for _ in range(COUNT)
    ]
    rule = {
        "id": "r",
        "match": {"type": "header", "name": "^x$", "regexValue": "^(?<v>[^|]*)"},
        "action": "classify",
        "classify": {"claims": [{bucket: "${v}"}]},
        "on_unknown": 404,
    }
    normal = (normalised_or_none(bucket, value) for value in values)
    owners = {(bucket, one): (OWNED, choose.randint(1, 5)) for one in normal if one is not None}
    comparison = Comparison(parse({"rules": [rule]}), some_cells(), owners)
    requests = [_request(value) for value in values]
    assert not comparison.differences(requests)
    said = comparison.said(requests)
    assert all(one.answer for one in said[: len(PLAIN[bucket])])
    assert sum(one.answer != "" for one in said) > COUNT / 20


def _request(value: str) -> Fields:
    lead = [(b":method", b"GET"), (b":authority", b"a"), (b":path", b"/")]
    return [*lead, (b"x", value.encode())]
