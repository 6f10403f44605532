"""After a change of rules, requests on every connection are decided by the new ones; none is cut.

Each request names one cell in its path, and others in headers, a cookie and the query: if something
else is looked at than the rules say, the answer comes from another cell.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from control_plane.classifier.decide import Decider, NoRuleset
from control_plane.process import envoy
from control_plane.publisher.publisher import Publisher
from control_plane.routing.admission.admit import Refused, admit
from control_plane.routing.evaluate import decide
from control_plane.routing.model import Cells, Decision, Status, ToCell
from control_plane.routing.rules.parse import parse
from tests.e2e.talking_cells import EVENT_S, TalkingCells
from tests.support.conditions import wait_until
from tests.support.raw_http import RawConnection, RawResponse, request_bytes
from tests.support.raw_http2 import RawHttp2Connection
from tests.support.system import System

CELLS = ("cell-1", "cell-2", "cell-3", "cell-4")
HOST = b"cells.example"
OPEN = 20
DRAIN_S = 1
WAYS: dict[str, dict[str, Any]] = {
    "cache": {},
    "http": {"edge_cache_entries": 0},
    "grpc": {"classifier_protocol": "grpc"},
}
Rules = list[dict[str, Any]]


def ask(match: dict[str, str], rule: str = "who", **more: Any) -> dict[str, Any]:
    """Return a rule that needs the classifier."""
    claims = {"claims": [{"tenant": "${k}"}]}
    return {"id": rule, "match": match, "action": "classify", "classify": claims} | more


PATH = {"type": "path", "regexValue": "^/t/(?<k>[^/]+)(?:/|$)"}
DEEP = {"type": "path", "regexValue": "^/t/[^/]+/(?<k>[^/]+)(?:/|$)"}
QUERY = {"type": "query_string", "regexValue": "(?:^|&)q=(?<k>[^&]+)"}
ORG = {"type": "header", "name": "^x-org$", "regexValue": "^(?<k>.+)$"}
TEAM = {"type": "header", "name": "^x-team$", "regexValue": "^(?<k>.+)$"}
COOKIE = {"type": "cookie", "name": "^s$", "regexValue": "^(?<k>.+)$"}
HOST_NAME = {"type": "host", "regexValue": "^(?<k>[a-z]+)"}
UNNAMED = {"type": "header", "name": "^x-te.*$", "regexValue": "^(?<k>.+)$"}
PIN = {
    "id": "pin",
    "match": {"type": "header", "name": "^x-org$", "regexValue": "^three$"},
    "action": "proxy",
    "proxy": {"cell": "cell-4"},
}
ANY = {"id": "any", "action": "proxy", "proxy": {"cell": "cell-4"}}
NEXT = {"on_classifier_down": "next"}
HISTORY: dict[str, Rules] = {
    "path": [ask(PATH)],
    "renamed": [ask(PATH, "whose")],
    "added": [ask(ORG, "org"), ask(PATH, "whose")],
    "same id, other header": [ask(TEAM, "org"), ask(PATH, "whose")],
    "same id, cookie": [ask(COOKIE, "org"), ask(PATH, "whose")],
    "same id, deeper path": [ask(DEEP, "org"), ask(PATH, "whose")],
    "same id, query": [ask(QUERY, "org"), ask(PATH, "whose")],
    "same id, host": [ask(HOST_NAME, "org"), ask(PATH, "whose")],
    "headers by regex": [ask(UNNAMED, "org"), ask(PATH, "whose")],
    "named again": [ask(TEAM, "org"), ask(PATH, "whose")],
    "native before": [PIN, ask(TEAM, "org"), ANY],
    "native alone": [PIN, ANY],
    "order": [ask(PATH, "whose"), ask(TEAM, "org"), ANY],
    "order turned": [ask(TEAM, "org"), ask(PATH, "whose"), ANY],
    "removed": [ask(PATH, "whose"), ANY],
    "other refusal": [ask(PATH, "whose", on_unknown=410), ANY],
    "other refusal again": [ask(ORG, "whose", on_unknown=451), ANY],
}


@dataclass(frozen=True)
class Probe:
    """A request; each of its parts names a cell by its tenant, or nobody."""

    target: bytes
    headers: tuple[tuple[str, bytes], ...]

    def raw(self) -> bytes:
        return request_bytes(self.target, self.headers, host=HOST)

    def block(self) -> list[tuple[bytes, bytes]]:
        head = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", self.target)]
        pairs = [(name.encode(), value) for name, value in self.headers]
        return [*head, (b":authority", HOST), *pairs]


def probe(first: str, second: str, query: str, **headers: str) -> Probe:
    named = {"x-org": headers.get("org"), "x-team": headers.get("team")}
    named["cookie"] = f"a=b; s={headers['s']}" if "s" in headers else None
    sent = tuple((name, value.encode()) for name, value in named.items() if value)
    return Probe(f"/t/{first}/{second}/x?q={query}".encode(), sent)


PROBES = (
    probe("one", "two", "three"),
    probe("one", "two", "three", org="three", team="two", s="three"),
    probe("one", "three", "two", org="two", team="three", s="two"),
    probe("two", "one", "three", team="one"),
    probe("two", "three", "one", org="one", s="one"),
    probe("nobody", "nobody", "nobody", org="nobody", team="two"),
)


(NOBODY,) = (one for one in PROBES if b"nobody" in one.target)
NOT_PLAIN = probe("nobod%C3%BF", "x", "y")
"""Nobody's, too; an edge with a map of owners asks the classifier all the same."""


@dataclass
class Clients:
    """Connections that were opened before a change, of HTTP/1.1 and HTTP/2."""

    address: tuple[str, int]
    old: list[RawConnection] = field(default_factory=list)
    http2: list[RawHttp2Connection] = field(default_factory=list)

    def open(self) -> None:
        self.old = [RawConnection(self.address) for _ in range(OPEN)]
        self.http2 = [RawHttp2Connection(self.address) for _ in range(4)]
        # An idle connection gets its filters with its first request.
        for one in self.old:
            assert one.exchange(PROBES[0].raw()) is not None
        for other in self.http2:
            other.exchange(PROBES[0].block())

    def close(self) -> None:
        for one in (*self.old, *self.http2):
            one.close()

    def answers(self, asked: Probe) -> Iterator[tuple[str, RawResponse]]:
        """Yield the answer that each connection gets, and the one of a new connection."""
        for one in self.old:
            answer = one.exchange(asked.raw())
            assert answer is not None, "an old connection was cut"
            yield "old", answer
        for other in self.http2:
            response = other.exchange(asked.block())
            assert isinstance(response, RawResponse), "an old HTTP/2 connection was cut"
            yield "old h2", response
        with RawConnection(self.address) as fresh:
            answer = fresh.exchange(asked.raw())
            assert answer is not None
            yield "new", answer


def said(system: System, rules: Rules, asked: Probe) -> tuple[int, str]:
    """Return what the evaluator decides about a request by these rules: a status and a cell."""
    admitted = admit("GET", asked.target, HOST, list(asked.headers))
    assert not isinstance(admitted, Refused)
    cells = Cells(system.plane.topology.snapshot().cells)
    decision: Decision = decide(
        parse(json.dumps(rules)), admitted, cells, system.plane.topology.claims.owners_of
    )
    outcome = decision.outcome
    if isinstance(outcome, Status):
        return outcome.code, ""
    assert isinstance(outcome, ToCell)
    return 200, outcome.cell


def got(answer: RawResponse) -> tuple[int, str]:
    return answer.status, answer.body.decode() if answer.status == 200 else ""


_names = itertools.count()


def document(rules: Rules) -> dict[str, Any]:
    """Return a document with a new name, so that going back to old rules is a change, too."""
    return {"name": f"rules-{next(_names)}", "rules": rules}


def check(system: System, clients: Clients, rules: Rules, what: str) -> None:
    wrong = []
    for asked in PROBES:
        wanted = said(system, rules, asked)
        for which, answer in clients.answers(asked):
            if got(answer) != wanted:
                wrong.append((what, which, asked, got(answer), wanted))
    assert not wrong, f"{len(wrong)} of them: {wrong[0]}"


def started(directory: Path, way: str) -> Iterator[System]:
    with (
        TalkingCells(*CELLS) as cells,
        System(directory, cells=0, debug_networks=(), **WAYS[way]) as system,
    ):
        for name, port in cells.ports.items():
            system.add_cell(name, port)
        for cell, tenant in zip(CELLS, ("one", "two", "three", "cells"), strict=True):
            system.claim(cell, f"tenant:{tenant}")
        yield system


@pytest.fixture(scope="module", params=WAYS)
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    patch = pytest.MonkeyPatch()
    patch.setattr(envoy, "DRAIN_S", DRAIN_S)
    yield from started(tmp_path_factory.mktemp("rules"), request.param)
    patch.undo()


@pytest.fixture
def clients(system: System) -> Iterator[Clients]:
    system.use_ruleset(document(HISTORY["path"]))
    opened = Clients(("127.0.0.1", system.edge_port))
    opened.open()
    yield opened
    opened.close()


def test_old_connections_are_decided_by_the_new_rules(system: System, clients: Clients) -> None:
    for what, rules in HISTORY.items():
        system.use_ruleset(document(rules))
        check(system, clients, rules, what)
    updates = r"listener_manager\.listener_(in_place_updated|modified)"
    assert not any(system.stats(updates).values()), "no listener was changed"


def nobodys(clients: Clients) -> set[tuple[int, str]]:
    """Return the answers about a name of nobody, which a map knows while its stream is heard."""
    return {got(answer) for _, answer in clients.answers(NOBODY)}


def test_a_dead_classifier_hands_over_as_the_new_rules_say(
    system: System, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = threading.Event()
    real = Decider.decide

    def failing(decider: Decider, *arguments: Any, **more: Any) -> Any:
        if dead.is_set():
            raise NoRuleset
        return real(decider, *arguments, **more)

    monkeypatch.setattr(Decider, "decide", failing)
    for down, wanted in (
        ({}, (503, "")),
        (NEXT, (200, "cell-4")),
        ({"on_classifier_down": {"cell": "cell-2"}}, (200, "cell-2")),
        ({"on_classifier_down": 429}, (429, "")),
    ):
        dead.clear()
        system.use_ruleset(document([ask(PATH, **down), ANY]))
        dead.set()
        assert {got(answer) for _, answer in clients.answers(NOT_PLAIN)} == {wanted}, down
        if system.module is not None:
            wait_until(lambda: nobodys(clients) == {(200, "cell-4")})


def test_an_edge_that_has_not_heard_of_the_new_rules_decides_by_its_own(
    system: System, clients: Clients
) -> None:
    """The classifier knows the new rules at once, but they look at what this edge does not send."""
    before = HISTORY["same id, cookie"]
    system.use_ruleset(document(before))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publisher, "_put", lambda *_: None)
        for after in (HISTORY["added"], HISTORY["native alone"], HISTORY["other refusal"]):
            following = document(after)
            stored = system.write("PUT", f"/v1/rulesets/{following['name']}", following)
            version = {"version": stored["ruleset"]["version"]}
            system.write("POST", f"/v1/rulesets/{following['name']}/activate", version)
            check(system, clients, before, "an edge that is behind")
    system.use_ruleset(document(HISTORY["order"]))
    check(system, clients, HISTORY["order"], "and has caught up")


def test_while_rules_change_each_request_is_decided_by_one_of_them(
    system: System, clients: Clients
) -> None:
    """Kept-alive connections ask all the time; each answer is right by the old or the new rules."""
    turns: Sequence[Rules] = [
        HISTORY[name]
        for name in ("path", "same id, other header", "headers by regex", "native before", "order")
    ]
    possible = {asked: {said(system, rules, asked) for rules in turns} for asked in PROBES}
    wrong: list[tuple[Probe, tuple[int, str]]] = []
    asked_in_all = itertools.count()
    done = threading.Event()

    def hammer(connection: RawConnection) -> None:
        for asked in itertools.cycle(PROBES):
            if done.is_set():
                return
            answer = connection.exchange(asked.raw())
            assert answer is not None
            next(asked_in_all)
            if got(answer) not in possible[asked]:
                wrong.append((asked, got(answer)))

    system.use_ruleset(document(turns[0]))
    threads = [threading.Thread(target=hammer, args=(one,)) for one in clients.old[:4]]
    for one in threads:
        one.start()
    try:
        for rules in (*turns, *turns):
            system.use_ruleset(document(rules))
            for asked in PROBES:
                for connection in clients.old[4:8]:
                    answer = connection.exchange(asked.raw())
                    assert answer is not None
                    assert got(answer) == said(system, rules, asked)
    finally:
        done.set()
        for one in threads:
            one.join()
    assert not wrong, wrong[0]
    assert next(asked_in_all) > 100


def test_what_is_under_way_goes_on_and_what_comes_is_decided_by_the_new_rules(
    system: System, clients: Clients
) -> None:
    address = clients.address
    upgrade = [("connection", b"upgrade"), ("upgrade", b"websocket"), ("x-org", b"two")]
    length = ("content-length", b"10")
    with contextlib.ExitStack() as stack:
        socket, events, upload, slow, late = (
            stack.enter_context(RawConnection(address)) for _ in range(5)
        )
        answer = socket.exchange(request_bytes(b"/t/one/x", upgrade))
        assert answer is not None
        assert answer.status == 101
        events.send(request_bytes(b"/t/one/events", [("x-org", b"two")]))
        upload.send(request_bytes(b"/t/one/x", [length], method="POST") + b"half.")
        # A request begins when its head is whole.
        slow.send(b"GET /t/one/x HTTP/1.1\r\nhost: a\r\n")
        assert late.exchange(PROBES[0].raw()) is not None
        for name in ("same id, other header", "headers by regex", "added"):
            system.use_ruleset(document(HISTORY[name]))
        late.send(request_bytes(b"/t/one/x", [length, ("x-org", b"two")], method="POST") + b"half.")
        # Longer than connections may go on that Envoy drains.
        assert events.read_until(b"cell-1\n", round(2 * DRAIN_S / EVENT_S))
        socket.send(b"hello")
        assert socket.read_until(b"cell-1 hello")
        upload.send(b"whole")
        late.send(b"whole")
        slow.send(b"x-org: two\r\n\r\n")
        for connection, cell in ((upload, "cell-1"), (late, "cell-2"), (slow, "cell-2")):
            answer = connection.read_response()
            assert answer is not None
            assert got(answer) == (200, cell)
        # A socket that is opened now is decided by the new rules.
        with RawConnection(address) as fresh:
            answer = fresh.exchange(request_bytes(b"/t/one/x", upgrade))
            assert answer is not None
            fresh.send(b"hello")
            assert fresh.read_until(b"cell-2 hello")
