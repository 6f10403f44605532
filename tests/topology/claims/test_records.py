"""Records come by source id, in pages that never split one."""

from __future__ import annotations

import pytest

from control_plane.topology import Topology
from control_plane.topology.values.claim import RecordSpec
from control_plane.topology.values.errors import (
    Invalid,
)
from tests.topology.claims.steps import begin, own

ME = "tester"


def sourced(bucket: str, value: str, source: int, table: int = 1) -> RecordSpec:
    return RecordSpec(bucket, value, source_type=table, source_id=source.to_bytes(8, "big"))


def test_records_come_by_source_id_and_never_split_one(two: Topology) -> None:
    specs = [sourced(b, f"{n}", n) for n in range(1, 301) for b in ("username", "user_id")]
    two.leases.commit(1, begin(two, [*specs, sourced("email", "a@b.c", 5, table=2)]), actor=ME)
    own(two, "unsourced")
    seen: list[str] = []
    after, cut = b"", True
    while cut:
        page, cut = two.records.page(1, source_type=1, after=after, limit=101)
        assert page[-1].spec.source_id > after, "the cursor advances"
        after = page[-1].spec.source_id
        seen += [f"{one.spec.bucket}:{one.spec.value}" for one in page]
    assert len(seen) == len(set(seen)) == 600
    middle, cut = two.records.page(
        1, source_type=1, buckets=["username"], after=specs[0].source_id, upto=specs[5].source_id
    )
    assert ([one.spec.value for one in middle], cut) == (["2", "3"], False)
    assert two.records.page(2, source_type=1) == ([], False)
    assert two.records.page(1, source_type=14) == ([], False)
    first, cut = two.records.page(1, source_type=1, limit=1)
    assert ([one.spec.bucket for one in first], cut) == (["user_id", "username"], True)
    with pytest.raises(Invalid):
        two.records.page(1, source_type=0)
