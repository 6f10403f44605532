"""A snapshot as a file: it is read as it was written, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.edge_agent.saved_snapshot import BadSnapshot, SavedSnapshot, decode, encode
from control_plane.names import CDS, EDS, LDS, RDS
from control_plane.xds.resource import Resource
from control_plane.xds.snapshot import Snapshot
from tests.edge_agent.snapshot_files import saved, with_header


@given(
    st.integers(0, 2**63),
    st.text(min_size=1),
    st.dictionaries(
        st.tuples(st.sampled_from([CDS, EDS, LDS, RDS]), st.text(min_size=1)), st.binary()
    ),
)
def test_what_is_written_is_read(
    revision: int, group: str, bodies: dict[tuple[str, str], bytes]
) -> None:
    made = [Resource.of(type_url, name, body) for (type_url, name), body in bodies.items()]
    before = SavedSnapshot(Snapshot(revision, made), group)
    after = decode(encode(before))
    assert (after.revision, after.group) == (revision, group)
    assert after.snapshot.same_content(before.snapshot)
    for one in made:
        assert after.snapshot.of_type(one.type_url)[one.name] == one


@given(st.data())
def test_any_damage_is_found(data: st.DataObject) -> None:
    content = encode(saved(7, "cell:a", "cell:b", body=b"some bytes"))
    payload = content.index(b"\n") + 1
    cut = data.draw(st.integers(0, len(content) - 1))
    with pytest.raises(BadSnapshot):
        decode(content[:cut])
    at = data.draw(st.integers(payload, len(content) - 1))
    other = content[at] ^ data.draw(st.integers(1, 255))
    with pytest.raises(BadSnapshot, match="checksum"):
        decode(content[:at] + bytes([other]) + content[at + 1 :])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"schema": 0}, "its schema is 0; this agent reads 1"),
        ({"schema": 2}, "its schema is 2"),
        ({"revision": 8}, "another snapshot"),
        ({"group": None}, "another snapshot"),
        ({"sha256": "00"}, "checksum"),
    ],
)
def test_a_header_that_does_not_fit_says_why(changed: dict[str, object], why: str) -> None:
    with pytest.raises(BadSnapshot, match=why):
        decode(with_header(encode(saved(7)), **changed))


def test_a_header_may_hold_what_a_later_agent_adds() -> None:
    assert decode(with_header(encode(saved(7)), later="x")).revision == 7
