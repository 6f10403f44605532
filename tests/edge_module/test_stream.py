"""What the reader of the owners' stream takes, in any pieces, and what ends a connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control_plane.edge_module.library import EdgeMap, Odd, Owner, load
from control_plane.topology.values.claim_key import ClaimKey
from tests.edge_module import stream_fuzz, wire
from tests.edge_module.names import BUCKET, KEY, OTHER_KEY, key_id, name_hash
from tests.edge_module.wire import grpc

ACME, OTHER = name_hash("acme"), name_hash("other")
TABLE = 77


@pytest.fixture
def edge() -> Iterator[EdgeMap]:
    with EdgeMap(load(), KEY) as made:
        assert made.set_epochs("0;")
        yield made


def full(revision: int = 5, table: int = TABLE) -> list[bytes]:
    return [
        wire.begin(revision, table, key_id(), 2),
        wire.base(revision, table, [(ACME, 7)], flags=0),
        wire.base(revision, table, [(OTHER, 8)]),
    ]


def fed(edge: EdgeMap, *frames: bytes) -> list[Odd]:
    return [edge.feed(grpc(frame)) for frame in frames]


def test_a_table_and_its_changes_may_be_cut_at_every_byte() -> None:
    talk = b"".join(map(grpc, [*full(), wire.changes(6, TABLE, [(ACME, 8)]), wire.beat(7, TABLE)]))
    for cut in range(len(talk)):
        with EdgeMap(load(), KEY) as edge:
            edge.set_epochs("0;")
            assert edge.feed(talk[:cut]) is Odd.GOOD
            assert edge.feed(talk[cut:]) is Odd.GOOD
            assert (edge.revision, edge.names) == (7, 2)
            assert edge.owner(BUCKET, "acme") == (Owner.OWNED, 8)
            assert edge.owner(BUCKET, "nobody")[0] is Owner.UNKNOWN


def test_every_flipped_bit_of_a_frame_ends_the_connection(edge: EdgeMap) -> None:
    fed(edge, *full())
    frame = wire.changes(6, TABLE, [(ACME, 8)])
    for bit in range(8 * len(frame)):
        broken = bytearray(frame)
        broken[bit // 8] ^= 1 << bit % 8
        assert edge.feed(grpc(bytes(broken))) is not Odd.GOOD
        edge.reconnect()
    assert edge.owner(BUCKET, "acme") == (Owner.OWNED, 7)
    assert edge.revision == 5


@pytest.mark.parametrize(
    ("message", "odd"),
    [
        (b"\1" + grpc(wire.beat(5, TABLE))[1:], Odd.COMPRESSED),
        (grpc(b"x" * 31), Odd.LENGTH),
        (grpc(b"x" * 60_033), Odd.LENGTH),
        (b"\0\xff\xff\xff\xff", Odd.LENGTH),
        (grpc(wire.frame(wire.BEAT, 5, TABLE, count=1)), Odd.LENGTH),
        (grpc(wire.frame(wire.CHANGES, 6, TABLE, count=2, body=bytes(12))), Odd.LENGTH),
        (grpc(wire.frame(wire.CHANGES, 6, TABLE, count=0xFFFFFFFF)), Odd.LENGTH),
        (grpc(wire.frame(wire.BEGIN, 6, TABLE, body=bytes(17))), Odd.LENGTH),
        (grpc(wire.begin(6, TABLE, key_id(), names=2**40)), Odd.LENGTH),
        (grpc(wire.frame(5, 6, TABLE)), Odd.KIND),
        (grpc(wire.frame(wire.BEAT, 6, TABLE, form=2)), Odd.KIND),
        (grpc(wire.begin(6, TABLE, key_id(OTHER_KEY))), Odd.KEY),
        (grpc(wire.base(5, TABLE, [])), Odd.ORDER),
        (grpc(wire.beat(6, TABLE + 1)), Odd.TABLE),
        (grpc(wire.changes(4, TABLE)), Odd.REVISION),
        (grpc(wire.begin(4, TABLE, key_id())), Odd.REVISION),
    ],
)
def test_what_is_odd_ends_the_connection_and_leaves_the_table(
    edge: EdgeMap, message: bytes, odd: Odd
) -> None:
    fed(edge, *full())
    assert edge.feed(message) is odd
    edge.reconnect()
    assert edge.owner(BUCKET, "acme") == (Owner.OWNED, 7)
    assert (edge.lineage, edge.revision, edge.names) == (TABLE, 5, 2)


def test_the_next_connection_goes_on_from_the_tables_revision(edge: EdgeMap) -> None:
    first = wire.said(edge.follow("edge-1")[5:])
    assert (first.kind, first.revision, first.table, first.node) == (1, 0, 0, "edge-1")
    assert first.key_id == key_id()
    fed(edge, *full())
    edge.reconnect()
    again = wire.said(edge.follow()[5:])
    assert (again.revision, again.table, again.names) == (5, TABLE, 2)
    assert fed(edge, wire.changes(9, TABLE, [(ACME, 0)]), wire.beat(9, TABLE)) == [Odd.GOOD] * 2
    assert edge.owner(BUCKET, "acme")[0] is Owner.UNKNOWN
    status = wire.said(edge.status()[5:])
    assert (status.kind, status.source, status.revision, status.names) == (2, 1, 9, 1)
    assert status.lag_ms < 1_000


def test_a_table_in_the_making_answers_nothing_and_takes_nothing_away(edge: EdgeMap) -> None:
    begun, first, last = full(6, TABLE + 1)
    assert fed(edge, begun, first) == [Odd.GOOD] * 2
    assert edge.owner(BUCKET, "acme")[0] is Owner.ASK
    edge.reconnect()
    fed(edge, *full())
    assert fed(edge, begun, first) == [Odd.GOOD] * 2
    assert edge.builds
    assert edge.lineage == TABLE
    assert edge.owner(BUCKET, "other") == (Owner.OWNED, 8)
    assert fed(edge, last) == [Odd.GOOD]
    assert (edge.lineage, edge.revision) == (TABLE + 1, 6)


def test_another_key_hides_the_table_from_its_stream_until_it_has_one_of_its_own(
    edge: EdgeMap,
) -> None:
    fed(edge, *full())
    edge.reconnect(OTHER_KEY)
    assert wire.said(edge.follow()[5:]).table == 0
    assert fed(edge, wire.beat(9, TABLE)) == [Odd.ORDER]
    edge.reconnect()
    new_hash = name_hash("acme", key=OTHER_KEY)
    assert edge.owner(BUCKET, "acme") == (Owner.OWNED, 7)
    fed(edge, wire.begin(9, 78, key_id(OTHER_KEY)), wire.base(9, 78, [(new_hash, 8)]))
    assert edge.owner(BUCKET, "acme") == (Owner.OWNED, 8)


def test_an_owner_counts_only_at_the_epoch_of_its_shard_and_the_floor(edge: EdgeMap) -> None:
    fed(edge, *full())
    shard = ClaimKey(BUCKET, "acme").shard
    for text, counts in (
        (f"4;{shard}:5", True),
        (f"4;{shard}:6", False),
        (f"4;{(shard + 1) % 256}:6", True),
        ("5;", True),
        ("6;", False),
        ("5;", True),
        ("off", False),
    ):
        assert edge.set_epochs(text)
        assert (edge.owner(BUCKET, "acme")[0] is Owner.OWNED) == counts, text
    fed(edge, wire.changes(6, TABLE))
    assert edge.set_epochs(f"6;{shard}:6")
    assert edge.owner(BUCKET, "acme") == (Owner.OWNED, 7)


@pytest.mark.parametrize(
    "text",
    ["", "5", "5,", ";", "a;", "5;256:1", "5;1", "5;1:", "5;1:2,", "5;1:2;3:4", "5;-1:2", "5; 1:2",
     "18446744073709551615;", "99999999999999999999;", "5;1:2,,3:4", "off ", "5;\0"],
)  # fmt: skip
def test_a_malformed_text_of_epochs_is_refused_and_changes_nothing(
    edge: EdgeMap, text: str
) -> None:
    fed(edge, *full())
    assert not edge.set_epochs(text)
    assert edge.owner(BUCKET, "acme") == (Owner.OWNED, 7)


def test_without_epochs_or_turned_off_nothing_is_answered() -> None:
    with EdgeMap(load(), KEY) as edge:
        fed(edge, *full())
        assert edge.owner(BUCKET, "acme")[0] is Owner.ASK
        edge.set_epochs("5;")
        assert edge.owner(BUCKET, "acme")[0] is Owner.OWNED
        edge.turn(False)
        assert edge.owner(BUCKET, "acme")[0] is Owner.ASK


def test_nobody_owns_a_name_only_for_a_second_after_the_sender_was_current(edge: EdgeMap) -> None:
    def is_certain(age_ms: int, ago_ms: int = 0, flags: int = 0) -> bool:
        beat = grpc(wire.beat(5, TABLE, age_ms, flags))
        assert edge.feed(beat, edge.now_ms - ago_ms) is Odd.GOOD
        return edge.owner(BUCKET, "nobody")[0] is Owner.UNKNOWN

    fed(edge, *full())
    assert edge.owner(BUCKET, "nobody")[0] is Owner.ASK  # no BEAT yet
    assert is_certain(0)
    assert is_certain(800)
    assert not is_certain(1_001)
    assert not is_certain(0, ago_ms=1_001)
    assert not is_certain(600, ago_ms=600)
    assert not is_certain(0xFFFFFFFF)
    assert not is_certain(0, flags=wire.CUT_OFF)
    assert wire.said(edge.status()[5:]).source == 3
    assert is_certain(0)
    assert edge.owner(BUCKET, "acme") == (Owner.OWNED, 7)
    fed(edge, *full(6, TABLE + 1))
    assert edge.owner(BUCKET, "nobody")[0] is Owner.ASK  # the BEAT was of another table


@pytest.mark.parametrize("seed", range(8))
def test_random_frames_in_random_pieces_do_what_the_reference_does(seed: int) -> None:
    stream_fuzz.run(seed, 150)
