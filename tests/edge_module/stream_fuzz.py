"""Random frames in random pieces, right and wrong ones, against the reference in Python.

    python -m tests.edge_module.stream_fuzz --minutes 10
    LD_PRELOAD=$(cc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
        python -m tests.edge_module.stream_fuzz --minutes 10 --sanitize memory
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import replace

from control_plane.edge_module.compilers import Sanitizer
from control_plane.edge_module.library import ASK_CELL, EdgeMap, Odd, Owner, load
from tests.edge_module import wire
from tests.edge_module.names import BUCKET, KEY, key_id, name_hash
from tests.edge_module.reference import Reference, Sent

NAMES = [f"name-{number}" for number in range(12)]
HASHES = [name_hash(name) for name in NAMES]
TABLES = (0, 77, 78)


def written(sent: Sent) -> bytes:
    """Return the bytes of a frame."""
    if sent.kind == wire.BEGIN:
        return wire.begin(sent.revision, sent.table, sent.key_id, names=3)
    if sent.kind == wire.BEAT:
        return wire.beat(sent.revision, sent.table, flags=sent.flags)
    return wire.records(sent.kind, sent.revision, sent.table, sent.owners, sent.flags)


class Talk:
    """A map, its reference, and a sender that is usually right."""

    def __init__(self, edge: EdgeMap, choose: random.Random) -> None:
        self.edge, self.choose = edge, choose
        self.reference = Reference(key_id())
        edge.set_epochs("0;")

    def frame(self) -> Sent:
        """Return a frame that fits, and one time in eight one that need not."""
        choose, known = self.choose, self.reference
        owners = tuple(
            (choose.choice(HASHES), choose.choice((0, 1, 2, 70_000, ASK_CELL)))
            for _ in range(choose.randrange(4))
        )
        if known.building is not None:
            flags = wire.LAST if choose.random() < 0.4 else 0
            sent = Sent(wire.BASE, known.begun[1], known.begun[0], owners=owners, flags=flags)
        elif known.lineage == 0 or choose.random() < 0.1:
            revision = known.revision + choose.randrange(3)
            sent = Sent(wire.BEGIN, revision, choose.choice(TABLES[1:]), key_id=key_id())
        else:
            kind = choose.choice((wire.CHANGES, wire.CHANGES, wire.BEAT))
            revision = known.revision + choose.randrange(3)
            sent = Sent(
                kind, revision, known.lineage, owners=owners if kind == wire.CHANGES else ()
            )
        return self._bent(sent) if choose.random() < 0.12 else sent

    def _bent(self, sent: Sent) -> Sent:
        choose = self.choose
        change = choose.randrange(4)
        if change == 0:
            return replace(sent, revision=choose.randrange(12))
        if change == 1:
            return replace(sent, table=choose.choice(TABLES))
        if change == 2:
            return replace(sent, key_id=choose.getrandbits(64))
        kind = choose.randint(1, 4)
        return replace(sent, kind=kind, owners=sent.owners if kind in {2, 3} else ())

    def step(self) -> None:
        """Send some frames, then compare."""
        frames = [self.frame()]
        odd = self.reference.take(frames[0])
        while odd is Odd.GOOD and self.choose.random() < 0.6:
            frames.append(self.frame())
            odd = self.reference.take(frames[-1])
        data = b"".join(wire.grpc(written(sent)) for sent in frames)
        assert self.feed(data) is odd, frames
        if odd is not Odd.GOOD:
            self.reconnect()
        self.compare()

    def break_bytes(self) -> None:
        """Send a frame of which a byte is another one, or which ends too early."""
        data = bytearray(wire.grpc(written(self.frame())))
        at = self.choose.randrange(len(data))
        data[at] ^= 1 << self.choose.randrange(8)
        if self.feed(bytes(data)) is Odd.GOOD:
            # Its length grew: it is a frame that has not come whole. What follows can't fit.
            assert at < 5
            assert self.feed(wire.grpc(wire.beat(0, 1)) * 2_000) is not Odd.GOOD
        self.reconnect()
        self.compare()

    def feed(self, data: bytes) -> Odd:
        """Feed bytes in random pieces."""
        start, odd = 0, Odd.GOOD
        while start < len(data) and odd is Odd.GOOD:
            end = start + self.choose.choice((1, 3, 31, 40, 4_000))
            odd = self.edge.feed(data[start:end])
            start = end
        return odd

    def reconnect(self) -> None:
        self.edge.reconnect()
        self.reference.reconnected()

    def compare(self) -> None:
        reference = self.reference
        assert (self.edge.lineage, self.edge.revision) == (reference.lineage, reference.revision)
        assert self.edge.builds == (reference.building is not None)
        said = [self.edge.owner(BUCKET, name) for name in NAMES]
        expected = [reference.owner(name) for name in HASHES]
        for ours, right in zip(said, expected, strict=True):
            # Whether nobody owns it is certain for a second after a BEAT only.
            assert ours == right or (ours[0] is Owner.ASK and right[0] is Owner.UNKNOWN)


def run(seed: int, steps: int, sanitizer: Sanitizer | None = None) -> None:
    """Let one sender and one reader talk."""
    choose = random.Random(seed)
    with EdgeMap(load(sanitizer), KEY) as edge:
        talk = Talk(edge, choose)
        for _ in range(steps):
            if choose.random() < 0.2:
                talk.break_bytes()
            else:
                talk.step()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run talks until the time is over; print the seed of each that fails."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--sanitize", type=Sanitizer)
    options = parser.parse_args(arguments)
    end, seed = time.monotonic() + 60 * options.minutes, options.seed
    while time.monotonic() < end:
        try:
            run(seed, 200, options.sanitize)
        except BaseException:
            print(f"seed {seed}", flush=True)
            raise
        seed += 1
    print(f"{seed - options.seed} talks of 200 steps", flush=True)


if __name__ == "__main__":
    main()
