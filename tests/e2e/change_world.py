"""Drives a real Envoy and control plane through a sequence of changes, and checks each step.

After each change that the control plane calls done, Envoy is held against the compiled snapshot and
every probe is asked over new and over old connections. While a change is under way an answer may be
that of the old or of the new revision.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from control_plane.cli.local import LOCAL_NODE
from control_plane.publish import EdgeSnapshots
from control_plane.server import traffic_policy
from control_plane.xds.resource import CDS, EDS
from control_plane.xds.snapshot import Snapshot
from tests.e2e.change_operations import (
    BACKENDS,
    CA_FILES,
    MoveClaim,
    Operation,
    Put,
    Restart,
    SetFile,
    Wanted,
    at_first,
    topology_document,
)
from tests.e2e.change_rules import PROBES
from tests.e2e.change_system import ChangingSystem
from tests.e2e.change_views import Timeline, View, backends_of
from tests.e2e.envoy_state import EnvoyState, Key, differences
from tests.e2e.named_backends import NamedBackends
from tests.e2e.steady_clients import TIMEOUT_S, Client, Http1, Http2, SteadyClients, ask

FLEET_S = 20.0
"""How long a change that nothing is wrong with may take, mending and trying again included."""
REFUSED_S = 1.5
"""How long a change is waited for that Envoy must refuse."""
SETTLE_S = 8.0
"""How long what is not refused may take to get through beside what is."""
OLD_CLIENTS = 4


class Wrong(AssertionError):
    """The system does what it must not do."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Which system is driven."""

    delta: bool = True
    agent: bool = False
    drains_allowed: bool = False
    """Whether the edge may close connections while things change."""

    @property
    def restarts(self) -> tuple[str, ...]:
        """What can be started again."""
        return ("control plane", "Envoy", *(("agent",) if self.agent else ()))


class ChangeWorld:
    """One system from its first revision on; used with `with`."""

    def __init__(self, directory: Path, variant: Variant) -> None:
        self.variant = variant
        self.wanted = at_first()
        self.done: list[str] = []
        """What was done since the start, in words."""
        self.asked = 0
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._backends: NamedBackends
        self._system: ChangingSystem
        self._steady: SteadyClients
        self._old: list[Client] = []
        self._timeline: Timeline
        self._accepted: dict[str, str] = {}
        """The version of each cell's cluster that Envoy is known to run."""
        self._withheld: set[Key] = set()
        """What was published since Envoy last ran all; it may keep that as long as it refuses."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._backends = stack.enter_context(NamedBackends(BACKENDS, self._directory))
            for file in CA_FILES:
                self._write_file(file, "good")
            self._system = stack.enter_context(
                ChangingSystem(
                    self._directory,
                    0,
                    delta=self.variant.delta,
                    agent=self.variant.agent,
                    concurrency=1,
                    classifier_timeout_s=10.0,
                )
            )
            self._begin()
            self._steady = stack.enter_context(SteadyClients(self._system.edge_port))
            stack.callback(self._close_old)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _begin(self) -> None:
        answer = self._put(self.wanted, FLEET_S)
        assert answer.status_code < 300, answer.text
        claims = [
            {"bucket": "tenant", "value": tenant, "cell": cell}
            for tenant, cell in self.wanted.claims.items()
        ]
        self._system.write("POST", "/v1/claims?wait=fleet&timeout=20s", {"claims": claims})
        self._timeline = Timeline(self._view())
        self._runs_all(self._snapshot())

    def _close_old(self) -> None:
        for client in self._old:
            client.close()
        self._old = []

    def play(self, operations: Sequence[Operation]) -> None:
        """Do these from the first state, then come back to it; raises `Wrong`."""
        for operation in operations:
            self._do(operation)
        for file in CA_FILES:
            if self.wanted.files[file] != "good":
                self._do(SetFile(file, "good"))
        home = at_first()
        for tenant, cell in home.claims.items():
            if self.wanted.claims[tenant] != cell and not self.wanted.cells[cell].served:
                continue
            self._do(MoveClaim(tenant, cell))
        self._step("back to the first state", home)
        for tenant, cell in home.claims.items():
            self._do(MoveClaim(tenant, cell))

    def _do(self, operation: Operation) -> None:
        after = operation(self.wanted)
        match operation:
            case Put():
                if after != self.wanted:
                    self._step(repr(operation), after)
            case MoveClaim():
                if after != self.wanted:
                    self._move(operation, after)
            case SetFile():
                if after != self.wanted:
                    self._set_file(operation, after)
            case Restart():
                self._restart(operation)

    # What is done

    def _step(self, text: str, after: Wanted) -> None:
        """One write of cells and rules, and all checks."""
        if after.cells == self.wanted.cells and after.rules == self.wanted.rules:
            return
        after = replace(after, claims=self.wanted.claims, files=self.wanted.files)
        self.done.append(text)
        begun, before = time.monotonic(), self._timeline.newest
        self._withheld |= set(_keys(self._snapshot()))
        expected = bool(after.refused())
        answer = self._put(after, REFUSED_S if expected else FLEET_S)
        if answer.status_code not in {200, 504}:
            self.done[-1] += f" (not taken: {answer.status_code} {answer.text[:200]})"
            return
        self.wanted = after
        self._changed(begun, before, done=answer.status_code == 200, said=answer.text)

    def _changed(self, begun: float, before: tuple[View, ...], *, done: bool, said: str) -> None:
        """The control plane has answered a write, or is up again."""
        snapshot = self._snapshot()
        must = self._must_be_refused(snapshot)
        view = self._view(must - self._accepted.keys())
        ended = time.monotonic()
        self._timeline.add(begun, (*before, view))
        if done and must:
            raise self._wrong(f"done, although Envoy can't take {sorted(must)}")
        if not done and not must:
            raise self._wrong(f"not done: {said}; {self._fleet()}")
        if done:
            self._timeline.add(ended, (view,))
            self._check_done(snapshot)
        else:
            self._check_refused(snapshot, must)
        self._judge()

    def _move(self, move: MoveClaim, after: Wanted) -> None:
        """Free a name and claim it for another cell: until then its last owner may answer."""
        self.done.append(repr(move))
        begun, before = time.monotonic(), self._timeline.newest
        self._withheld |= set(_keys(self._snapshot()))
        key = {"bucket": "tenant", "value": move.tenant}
        self._claims("/v1/claims/release", key)
        self._timeline.add(begun, (*before, self._view(self._unreachable())))
        answer = self._claims("/v1/claims", {**key, "cell": move.cell})
        self.wanted = after
        done = answer.status_code != 504
        self._changed(begun, self._timeline.newest, done=done, said=answer.text)

    def _claims(self, path: str, claim: Mapping[str, str]) -> httpx.Response:
        wait_s = REFUSED_S if self._must_be_refused(self._snapshot()) else FLEET_S
        path = f"{path}?wait=fleet&timeout={round(wait_s * 1000)}ms"
        answer = self._system.api.post(path, json={"claims": [claim]})
        if answer.status_code not in {200, 201, 504}:
            raise self._wrong(f"{path}: {answer.text}")
        return answer

    def _set_file(self, operation: SetFile, after: Wanted) -> None:
        self.done.append(repr(operation))
        before_refused = self._must_be_refused(self._snapshot())
        begun, before = time.monotonic(), self._timeline.newest
        self._write_file(operation.file, operation.state)
        self.wanted = after
        if before_refused and not self._must_be_refused(self._snapshot()):
            done = self._until(self._synced, FLEET_S)
            self._changed(begun, before, done=done, said="the file is there, but it stays refused")

    def _restart(self, restart: Restart) -> None:
        self.done.append(repr(restart))
        begun, before = time.monotonic(), self._timeline.newest
        down = [replace(one, classifier=False, edge=restart.what != "Envoy") for one in before]
        self._timeline.add(begun, (*before, *down))
        if restart.what == "control plane":
            self._system.stop_plane()
            self._system.start_plane()
        elif restart.what == "agent":
            self._system.restart_agent()
        else:
            self._accepted.clear()
            self._withheld.clear()
            self._close_old()
            with self._steady.paused():
                self._system.restart_envoy()
                if not self._until(self._listens, FLEET_S):
                    raise self._wrong(f"Envoy is up, but serves nothing: {self._fleet()}")
        must = self._must_be_refused(self._snapshot())
        done = not must and self._until(self._synced, FLEET_S)
        self._changed(begun, (*before, *down), done=done, said="after a restart")

    def _put(self, wanted: Wanted, wait_s: float) -> httpx.Response:
        body = topology_document(wanted, self._backends.ports, str(self._directory))
        return self._system.api.put(
            f"/v1/topology?force=true&wait=fleet&timeout={round(wait_s * 1000)}ms", json=body
        )

    def _write_file(self, name: str, state: str) -> None:
        path = self._directory / name
        if state == "missing":
            path.unlink(missing_ok=True)
            return
        contents = {"good": self._backends.ca_pem, "no PEM": b"no certificate\n", "empty": b""}
        path.write_bytes(contents[state])

    # What must hold

    def _snapshot(self) -> Snapshot:
        """What the topology compiles to, from nothing."""
        plane = self._system.plane
        snapshots = EdgeSnapshots(traffic_policy(plane.settings, plane.ports))
        return snapshots.of(plane.topology.snapshot())

    def _view(self, unreachable: frozenset[str] = frozenset()) -> View:
        outcomes = {}
        for probe in PROBES:
            headers = [(name, value.encode()) for name, value in probe.headers]
            outcomes[probe] = self._system.expected(
                "GET", probe.target.encode(), probe.host.encode(), headers
            )
        return View(outcomes, backends_of(self.wanted), unreachable)

    def _unreachable(self) -> frozenset[str]:
        return self._must_be_refused(self._snapshot()) - self._accepted.keys()

    def _must_be_refused(self, snapshot: Snapshot) -> frozenset[str]:
        """The cells whose cluster Envoy does not run, and can't take at present."""
        versions = snapshot.whole(CDS).versions
        return frozenset(
            name
            for name in self.wanted.refused()
            if versions.get(f"cell:{name}") != self._accepted.get(name)
        )

    def _check_done(self, snapshot: Snapshot) -> None:
        found = differences(EnvoyState.read(self._system.admin_port), snapshot)
        if found:
            time.sleep(1)
            later = differences(EnvoyState.read(self._system.admin_port), snapshot)
            kind = "for good" if later == found else f"a second later {later or 'all is well'}"
            raise self._wrong(f"done, but Envoy runs other than published ({kind})", *found)
        self._runs_all(snapshot)
        self._check_synced()
        self._sweep()

    def _runs_all(self, snapshot: Snapshot) -> None:
        self._withheld.clear()
        self._accepted = {
            name.removeprefix("cell:"): version
            for name, version in snapshot.whole(CDS).versions.items()
        }

    def _check_synced(self) -> None:
        node = self._node()
        faults = [
            f"{one['type']}: {one['state']} {one['error']!r} {one['rejected']}"
            for one in node["types"]
            if one["state"] != "SYNCED" or one["error"] or one["rejected"]
        ]
        if node["state"] != "SYNCED" or faults:
            raise self._wrong(f"done, but the fleet says {node['state']}", *faults)

    def _check_refused(self, snapshot: Snapshot, must: frozenset[str]) -> None:
        """What is refused is named with Envoy's own words, and nothing else lacks."""
        self._until(lambda: self._refusal_faults(must) == [], SETTLE_S)
        if faults := self._refusal_faults(must):
            raise self._wrong(f"{sorted(must)} can't be taken, but the fleet says", *faults)
        besides = {(kind, f"cell:{name}") for name in must for kind in (CDS, EDS)}
        besides |= self._withheld - set(_keys(snapshot))

        def others() -> list[str]:
            state = EnvoyState.read(self._system.admin_port)
            return differences(state, snapshot, besides=besides)

        self._until(lambda: others() == [], SETTLE_S)
        if found := others():
            raise self._wrong(f"besides {sorted(must)}, which it refuses", *found)
        versions = snapshot.whole(CDS).versions
        for name, version in versions.items():
            if (cell := name.removeprefix("cell:")) not in must:
                self._accepted[cell] = version
        self._sweep()

    def _refusal_faults(self, must: frozenset[str]) -> list[str]:
        node = self._node()
        clusters = next((one for one in node["types"] if one["type"] == "Cluster"), None)
        if clusters is None or node["state"] != "NACKED":
            return [f"state {node['state']}"]
        named = {name.removeprefix("cell:") for name in clusters["rejected"]}
        faults = [] if clusters["error"] else ["no error text"]
        if not must <= named <= self.wanted.refused():
            faults.append(f"rejected are {sorted(named)}")
        return faults

    def _sweep(self) -> None:
        """Ask every probe over connections that are old, and over new ones."""
        port = self._system.edge_port
        name = f"of step {len(self.done)}"
        fresh: list[Client] = [Http1(port, name), Http2(port, name)]
        faults: list[str] = []
        for client in [*self._old, *fresh]:
            for probe in PROBES:
                if client.closed:
                    break
                record = ask(client, probe)
                self.asked += 1
                if (fault := self._timeline.fault(record)) is not None:
                    faults.append(fault)
        closed = [client.name for client in self._old if client.closed]
        self._old = [client for client in [*self._old, *fresh] if not client.closed]
        for client in self._old[:-OLD_CLIENTS]:
            client.close()
        self._old = self._old[-OLD_CLIENTS:]
        if faults:
            raise self._wrong("wrong answers after the change", *faults)
        self._check_drains(closed)

    def _check_drains(self, closed: Sequence[str]) -> None:
        restarted = "Restart(what='Envoy')" in self.done[-1:]
        drained, self._steady.closed = self._steady.closed, 0
        if (closed or drained) and not restarted and not self.variant.drains_allowed:
            raise self._wrong(f"the edge closed {[*closed, *['steady'] * drained]}")

    def _judge(self) -> None:
        """Look at what the steady clients got meanwhile."""
        if self._steady.error is not None:
            raise self._wrong(f"the steady clients failed: {self._steady.error!r}")
        records = self._steady.take()
        self.asked += len(records)
        faults = [fault for one in records if (fault := self._timeline.fault(one)) is not None]
        self._timeline.forget(time.monotonic() - 2 * TIMEOUT_S)
        if faults:
            raise self._wrong(f"{len(faults)} of {len(records)} steady requests", *faults[:6])

    def _node(self) -> Mapping[str, Any]:
        nodes = self._system.api.get("/v1/fleet").json()["items"]
        unknown: dict[str, Any] = {"state": "unknown", "connected": False, "types": []}
        found: Mapping[str, Any] = next(
            (one for one in nodes if one["id"] == LOCAL_NODE), unknown
        )
        return found

    def _fleet(self) -> str:
        node = self._node()
        types = [
            (one["type"], one["state"], one["error"], one["rejected"]) for one in node["types"]
        ]
        return f"{node['state']} {types}"

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._system.edge_port), timeout=1).close()
            return True
        return False

    def _synced(self) -> bool:
        node = self._node()
        revision = self._system.plane.topology.revision()
        return (
            bool(node["connected"])
            and node["state"] == "SYNCED"
            and node["acked_revision"] >= revision
        )

    @staticmethod
    def _until(condition: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def _wrong(self, what: str, *details: str) -> Wrong:
        lines = [what, *(f"  {one}" for one in details[:12])]
        lines += [f"after {len(self.done)} steps since the start:"]
        lines += [f"  {number}. {text}" for number, text in enumerate(self.done, 1)]
        return Wrong("\n".join(lines))


def _keys(snapshot: Snapshot) -> Iterator[Key]:
    for type_url in snapshot.types:
        for name in snapshot.of_type(type_url):
            yield type_url, name
