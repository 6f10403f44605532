"""The module in C reads what the control plane writes: a base, a change, and who owns what."""

from __future__ import annotations

from control_plane.edge_module.library import EdgeMap, Odd, Owner, load
from control_plane.owners.fingerprints import fingerprint
from control_plane.owners.journal import Journal
from control_plane.owners.sorted_base import BaseSorter, read_base

KEY = bytes(range(16))


def message(frame: bytes) -> bytes:
    """Return a frame as gRPC sends it."""
    return b"\0" + len(frame).to_bytes(4) + frame


def test_the_module_finds_each_name_of_a_base_and_of_a_change() -> None:
    rows = [("route", f"gruppe-{n}/ä", 1 + n % 7) for n in range(7_000)]
    sorter = BaseSorter(KEY)
    sorter.add(rows)
    base, _ = read_base(b"".join(sorter.file(77, 12)))
    journal = Journal()
    journal.begin(base)
    with EdgeMap(load(), KEY) as edge:
        assert edge.set_epochs("1;")
        for frame in (base.begin(), *base.frames):
            assert edge.feed(message(frame)) is Odd.GOOD
        assert (edge.lineage, edge.revision, edge.names) == (77, 12, len(rows))
        for bucket, value, cell in rows[::50]:
            assert edge.owner(bucket, value) == (Owner.OWNED, cell)
        moved, freed = (fingerprint(KEY, *rows[n][:2]) for n in (0, 1))
        journal.append(13, [(moved, 9), (freed, 0)])
        journal.seal()
        for frame in journal.frames(0, 1 << 20) or ():
            assert edge.feed(message(frame)) is Odd.GOOD
        assert edge.feed(message(journal.beat(0.0))) is Odd.GOOD
        assert edge.owner(*rows[0][:2]) == (Owner.OWNED, 9)
        assert edge.owner(*rows[1][:2])[0] is not Owner.OWNED
