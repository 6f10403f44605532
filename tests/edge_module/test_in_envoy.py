"""The module in a real Envoy: it follows the owners' stream and decides by what came."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from control_plane.edge_module.build import build
from control_plane.topology.values.claim_key import ClaimKey
from tests.edge_module import wire
from tests.edge_module.edge import MODULE, Edge, matcher
from tests.edge_module.names import BUCKET, KEY, OTHER_KEY, key_id, name_hash, program
from tests.edge_module.owners_server import OwnersServer, Session
from tests.support.conditions import holds_within, wait_until

ACME, OTHER = name_hash("acme"), name_hash("other")
TABLE = 77
SETTINGS = f"key={KEY.hex()}\ncluster=xds\nlater=unknown lines are passed over\n"
OWNED, MOVED, UNKNOWN, ASKED = "0:7", "0:8", "0=unknown", "asked"


def routes(module: str = MODULE) -> dict[str, object]:
    return matcher(program().code, list(program().answers), module)


def send_table(session: Session, revision: int = 5, table: int = TABLE) -> None:
    session.send(
        wire.begin(revision, table, session.follow.key_id, 2),
        wire.base(revision, table, [(ACME, 7), (OTHER, 8)]),
        wire.beat(revision, table),
    )


@contextmanager
def running(tmp_path: Path, workers: int = 1) -> Iterator[tuple[Edge, OwnersServer]]:
    with OwnersServer() as server:
        edge = Edge(tmp_path, server.port, routes(), workers=workers)
        edge.set_epochs("0;")
        edge.set_listeners(SETTINGS)
        with edge:
            yield edge, server


def test_requests_are_decided_by_what_the_stream_brought(tmp_path: Path) -> None:
    with running(tmp_path) as (edge, server):
        session = server.session(0)
        assert session.follow.key_id == key_id()
        assert (session.follow.revision, session.follow.table) == (0, 0)
        assert edge.answer("/t/acme") == ASKED
        send_table(session)
        edge.answers("/t/acme/page", OWNED)
        assert edge.answer("/t/nobody") == UNKNOWN
        session.send(wire.changes(6, TABLE, [(ACME, 8)]))
        edge.answers("/t/acme", MOVED)
        session.send(wire.changes(7, TABLE, [(ACME, wire.ASK_CELL), (OTHER, 0)]))
        edge.answers("/t/acme", ASKED)
        session.send(wire.beat(7, TABLE, age_ms=100))
        edge.answers("/t/other", UNKNOWN)
        session.send(wire.beat(7, TABLE, flags=wire.CUT_OFF))
        edge.answers("/t/other", ASKED)
        told = wait_until(lambda: [one for one in session.heard if one.kind == 2])[0]
        assert (told.revision, told.table, told.names, told.source) == (5, TABLE, 2, 1)
        wait_until(lambda: edge.stat("requests.outcome.key") >= 2)
        wait_until(lambda: edge.stat("answers.rule.0") >= 4)
        wait_until(lambda: edge.stat("doubts.reason.same_fingerprint") >= 1)
        wait_until(lambda: (edge.stat("names"), edge.stat("revision")) == (1, 7))
        assert edge.stat("table_bytes") > 0
        assert edge.stat("connected") == 1


def test_a_name_that_moved_while_the_stream_was_cut_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, workers=2) as (edge, server):
        send_table(server.session(0))
        edge.answers("/t/acme", OWNED)
        server.session(0).end()
        second = server.session(1)
        assert (second.follow.revision, second.follow.table) == (5, TABLE)
        edge.set_epochs(f"0;{ClaimKey(BUCKET, 'acme').shard}:6")
        edge.answers("/t/acme", ASKED)
        assert edge.answer("/t/other") == MOVED  # cell 8 had it from the start
        second.send(wire.changes(6, TABLE, [(ACME, 8)]), wire.beat(6, TABLE))
        edge.answers("/t/acme", MOVED)
        second.send(wire.begin(9, TABLE + 1, key_id(), 1), wire.base(9, TABLE + 1, [(ACME, 7)]))
        edge.answers("/t/acme", OWNED)
        edge.set_epochs("off")
        edge.answers("/t/acme", ASKED)
        edge.set_epochs("9;")
        edge.answers("/t/acme", OWNED)


def test_an_odd_or_silent_stream_is_begun_again_where_it_ended(tmp_path: Path) -> None:
    with running(tmp_path) as (edge, server):
        send_table(server.session(0))
        edge.answers("/t/acme", OWNED)
        broken = bytearray(wire.changes(6, TABLE, [(ACME, 8)]))
        broken[40] ^= 1
        server.session(0).send(bytes(broken), wire.changes(7, TABLE, [(ACME, 8)]))
        again = server.session(1)
        wait_until(lambda: server.session(0).over)
        assert (again.follow.revision, again.follow.table) == (5, TABLE)
        assert edge.answer("/t/acme") == OWNED
        wait_until(lambda: edge.stat("resets.reason.checksum") == 1)
        again.send(wire.beat(4, TABLE))
        wait_until(lambda: edge.stat("resets.reason.revision") == 1)
        third = server.session(2)
        server.refusing = True  # and the third says nothing
        wait_until(lambda: edge.stat("resets.reason.silent") == 1)
        wait_until(lambda: edge.stat("resets.reason.ended") >= 1)
        assert third.over
        assert edge.answer("/t/acme") == OWNED
        server.refusing = False
        assert server.session(3).follow.revision == 5


def test_one_stream_lives_whichever_listeners_come_and_go(tmp_path: Path) -> None:
    with running(tmp_path) as (edge, server):
        send_table(server.session(0))
        edge.answers("/t/acme", OWNED)
        edge.set_listeners(SETTINGS, SETTINGS)
        send_table(server.session(1))
        wait_until(lambda: server.session(0).over)
        edge.set_listeners(SETTINGS)
        third = server.session(2)
        wait_until(lambda: server.session(1).over)
        assert third.follow.revision == 5
        assert edge.answer("/t/acme") == OWNED
        edge.set_listeners(SETTINGS + "node=edge-9\n")
        fourth = server.session(3)
        assert (fourth.follow.revision, fourth.follow.node) == (5, "edge-9")
        fourth.send(wire.changes(6, TABLE, [(ACME, 8)]))
        edge.answers("/t/acme", MOVED)
        assert not holds_within(lambda: len(server.sessions) > 4, 0.3)
        assert [one.over for one in server.sessions] == [True] * 3 + [False]


def test_without_a_key_or_a_listener_with_one_the_module_answers_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (edge, server):
        send_table(server.session(0))
        edge.answers("/t/acme", OWNED)
        edge.set_listeners("cluster=xds\n")
        edge.answers("/t/acme", ASKED)
        wait_until(lambda: server.session(0).over)
        wait_until(lambda: edge.stat("on") == 0)
        assert edge.stat("names") == 0
        edge.set_listeners(f"key={OTHER_KEY.hex()}\ncluster=xds\n")
        session = server.session(1)
        assert (session.follow.revision, session.follow.key_id) == (0, key_id(OTHER_KEY))
        moved = [(name_hash("acme", key=OTHER_KEY), 8)]
        session.send(wire.begin(1, 5, key_id(OTHER_KEY)), wire.base(1, 5, moved))
        edge.answers("/t/acme", MOVED)


def test_a_name_that_the_stream_has_not_brought_is_asked_for_and_a_flood_is_not(
    tmp_path: Path,
) -> None:
    asked = 100
    with running(tmp_path, workers=2) as (edge, server):
        edge.set_listeners(f"{SETTINGS}ask={asked}\n")
        session = server.session(1)
        send_table(session)
        edge.answers("/t/acme", OWNED)
        began = time.monotonic()
        # It was claimed at revision 6; the table is "certain" that nobody owns it.
        session.send(wire.beat(5, TABLE))
        assert edge.answer("/t/new") == ASKED
        session.send(wire.changes(6, TABLE, [(name_hash("new"), 8)]))
        edge.answers("/t/new", MOVED)
        with httpx.Client(base_url=f"http://127.0.0.1:{edge.port}", trust_env=False) as client:
            said = []
            for number in range(5_000):
                if number % 50 == 0:
                    session.send(wire.beat(6, TABLE))
                said.append(client.get(f"/t/{number:x}").text)
        most = asked * (1 + time.monotonic() - began)
        assert set(said) == {ASKED, UNKNOWN}
        counted, late = "doubts.reason.unknown_asked", "doubts.reason.not_recent"
        left = 1 + said.count(ASKED)
        wait_until(lambda: edge.stat(counted) + edge.stat(late) >= left)
        assert edge.stat(counted) <= most
        assert left <= most + edge.stat(late)


def test_a_malformed_configuration_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    malformed = (
        "key=00\ncluster=xds",
        f"key={KEY.hex()}",
        "cluster=" + 257 * "x",
        *(f"{SETTINGS}ask={wrong}\n" for wrong in ("", "-1", "1x", "1000001", "4294967296")),
    )
    with running(tmp_path) as (edge, server):
        send_table(server.session(0))
        edge.answers("/t/acme", OWNED)
        edge.set_epochs("not epochs")
        for number, config in enumerate(malformed, start=1):
            edge.set_listeners(config)
            wait_until(partial(edge.has_rejected, number))
        edge.routes = matcher(b"no program", [OWNED])
        edge.set_listeners(SETTINGS)
        wait_until(partial(edge.has_rejected, len(malformed) + 1))
        server.session(0).send(wire.beat(5, TABLE))
        assert edge.answer("/t/acme") == OWNED


def test_two_versions_of_the_file_share_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    first = Path(shutil.copy(build(), folder))
    shutil.copy(first, folder / "libcellway_edge_v2.so")
    with OwnersServer() as server:
        edge = Edge(tmp_path, server.port, routes(), module=first)
        edge.set_epochs("0;")
        edge.set_listeners(SETTINGS)
        with edge:
            send_table(server.session(0))
            edge.answers("/t/acme", OWNED)
            edge.module_name = "cellway_edge_v2"
            edge.routes = routes(edge.module_name)
            edge.set_epochs("0;")
            edge.set_listeners(SETTINGS)
            second = server.session(1)
            assert second.follow.table == 0
            edge.answers("/t/acme", ASKED)
            send_table(second, 6)
            edge.answers("/t/acme", OWNED)


def test_a_change_is_in_force_within_milliseconds(tmp_path: Path) -> None:
    with running(tmp_path) as (edge, server):
        session = server.session(0)
        send_table(session)
        edge.answers("/t/acme", OWNED)
        took = []
        with httpx.Client(base_url=f"http://127.0.0.1:{edge.port}", trust_env=False) as client:
            for revision in range(6, 36):
                cell = 7 + revision % 2
                session.send(wire.changes(revision, TABLE, [(ACME, cell)]))
                start = time.monotonic()
                while client.get("/t/acme").text != f"0:{cell}":
                    assert time.monotonic() < start + 30
                took.append(time.monotonic() - start)
        assert sorted(took)[len(took) // 2] < 0.05
