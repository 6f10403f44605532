"""Checks after each change: Envoy's dump, the fleet's status and every answer must be right."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from control_plane.cli.local.system import LOCAL_NODE
from control_plane.names import CDS, EDS, LDS, RDS
from control_plane.publisher.edge_snapshots import EdgeSnapshots
from control_plane.server.traffic import traffic_policy
from control_plane.xds.snapshot import Snapshot
from tests.e2e.change_operations import Wanted
from tests.e2e.change_rules import PROBES
from tests.e2e.change_system import ChangingSystem
from tests.e2e.change_views import Timeline, View, backends_of
from tests.e2e.envoy_state import EnvoyState, Key, differences
from tests.e2e.steady_clients import TIMEOUT_S, Client, Http1, Http2, SteadyClients, ask
from tests.support.conditions import holds_within

SETTLE_S = 8.0
"""How long good resources may take to reach Envoy beside those that it refuses."""
LATER_S = 1.0
"""A difference is looked for again after this time, to tell what is late from what never comes."""
OLD_CLIENTS = 4


class Wrong(AssertionError):
    """The system has done what it must not do."""


class ChangeChecks:
    """Knows what Envoy has taken so far and which answers are right; raises `Wrong`.

    ``drains_allowed`` says whether the edge may close connections during a change.
    """

    def __init__(self, system: ChangingSystem, steady: SteadyClients, drains_allowed: bool) -> None:
        self._system = system
        self._steady = steady
        self._drains_allowed = drains_allowed
        self._old: list[Client] = []
        self._accepted: dict[str, str] = {}
        """The version of each cell's cluster that Envoy is known to run."""
        self._withheld: set[Key] = set()
        """All that was published since Envoy last ran everything: while it refuses something, it
        may run any of it."""
        self.timeline: Timeline
        self.asked = 0

    def begin(self, wanted: Wanted) -> None:
        """Note the first state, which is complete."""
        self.timeline = Timeline(self.view(wanted))
        self._runs_all(self.snapshot())

    def close_old(self) -> None:
        """Close the connections that were kept."""
        for client in self._old:
            client.close()
        self._old = []

    def envoy_is_new(self) -> None:
        """Note that Envoy was started again, and knows nothing."""
        self._accepted.clear()
        self._withheld.clear()

    def before_a_change(self) -> None:
        """Note what is published now: the next change may withdraw it."""
        self._withheld |= set(_keys(self.snapshot()))

    def snapshot(self) -> Snapshot:
        """Compile the topology from nothing; return the snapshot."""
        plane = self._system.plane
        policy = traffic_policy(
            plane.settings, grpc_port=plane.ports.grpc, classifier_port=plane.ports.classifier
        )
        snapshots, state = EdgeSnapshots(policy), plane.topology.snapshot()
        plain = snapshots.of(state)
        return plain if self._system.module is None else snapshots.module_variant(plain, state)

    def view(self, wanted: Wanted, unreachable: frozenset[str] = frozenset()) -> View:
        """Return what the evaluator says now about each probe."""
        outcomes = {}
        for probe in PROBES:
            headers = [(name, value.encode()) for name, value in probe.headers]
            outcomes[probe] = self._system.expected(
                "GET", probe.target.encode(), probe.host.encode(), headers
            )
        return View(outcomes, backends_of(wanted), unreachable)

    def must_be_refused(self, wanted: Wanted) -> frozenset[str]:
        """Return the cells whose cluster Envoy does not run, and can't take at present."""
        versions = self.snapshot().resources(CDS).versions
        return frozenset(
            name
            for name in wanted.refused()
            if versions.get(f"cell:{name}") != self._accepted.get(name)
        )

    def unreachable(self, wanted: Wanted) -> frozenset[str]:
        """Return those of these cells of which Envoy has never run a cluster."""
        return self.must_be_refused(wanted) - self._accepted.keys()

    def check(
        self, wanted: Wanted, begun: float, before: tuple[View, ...], *, done: bool, said: str
    ) -> None:
        """Check everything after the control plane has said whether a change is done."""
        snapshot, must = self.snapshot(), self.must_be_refused(wanted)
        view = self.view(wanted, self.unreachable(wanted))
        ended = time.monotonic()
        self.timeline.add(begun, (*before, view))
        if done and must:
            raise Wrong(f"done, although Envoy can't take {sorted(must)}")
        if not done and not must and not wanted.odd_rules:
            raise Wrong(f"not done: {said}; {self.fleet()}")
        if done:
            self.timeline.add(ended, (view,))
            self._check_done(snapshot)
        else:
            self._check_refused(wanted, snapshot, must)
        self._judge()

    def _check_done(self, snapshot: Snapshot) -> None:
        if first := self._differences(snapshot):
            time.sleep(LATER_S)
            later = self._differences(snapshot)
            kind = "for good" if later == first else f"a second later {later or 'all is well'}"
            raise wrong(f"done, but Envoy runs other than published ({kind})", first)
        self._runs_all(snapshot)
        self._check_synced()
        self._sweep()

    def _differences(self, snapshot: Snapshot, besides: set[Key] | None = None) -> list[str]:
        state = EnvoyState.read(self._system.admin)
        return differences(state, snapshot, besides=besides or ())

    def _runs_all(self, snapshot: Snapshot) -> None:
        self._withheld.clear()
        self._accepted = {
            name.removeprefix("cell:"): version
            for name, version in snapshot.resources(CDS).versions.items()
        }

    def _check_synced(self) -> None:
        node = self.node()
        faults = [
            f"{one['type']}: {one['state']} {one['error']!r} {one['rejected']}"
            for one in node["types"]
            if one["state"] != "SYNCED" or one["error"] or one["rejected"]
        ]
        if node["state"] != "SYNCED" or faults:
            raise wrong(f"done, but the fleet says {node['state']}", faults)

    def _check_refused(self, wanted: Wanted, snapshot: Snapshot, must: frozenset[str]) -> None:
        """Check that the status names what is refused, in Envoy's words, and that the rest runs."""
        holds_within(lambda: self._refusal_faults(wanted, must) == [], SETTLE_S)
        if faults := self._refusal_faults(wanted, must):
            raise wrong(f"{sorted(must)} can't be taken, but the fleet says", faults)
        besides = {(kind, f"cell:{name}") for name in must for kind in (CDS, EDS)}
        besides |= self._withheld - set(_keys(snapshot))
        if wanted.odd_rules:
            besides |= {key for key in _keys(snapshot) if key[0] in {LDS, RDS}}
        holds_within(lambda: self._differences(snapshot, besides) == [], SETTLE_S)
        if rest := self._differences(snapshot, besides):
            raise wrong(f"besides {sorted(must)}, which it refuses", rest)
        for name, version in snapshot.resources(CDS).versions.items():
            if (cell := name.removeprefix("cell:")) not in must:
                self._accepted[cell] = version
        self._sweep()

    def _refusal_faults(self, wanted: Wanted, must: frozenset[str]) -> list[str]:
        node = self.node()
        if node["state"] != "NACKED":
            return [f"state {node['state']}"]
        types = {one["type"]: one for one in node["types"]}
        named = {name.removeprefix("cell:") for name in types["Cluster"]["rejected"]}
        faults = [
            f"no error of {name}"
            for name, o in types.items()
            if bool(o["rejected"]) != bool(o["error"])
        ]
        if not must <= named <= wanted.refused():
            faults.append(f"rejected are {sorted(named)}")
        others = types.keys() - {"Cluster"} if not wanted.odd_rules else {"TypedExtensionConfig"}
        faults += [f"{name}: {types[name]['error']}" for name in others if types[name]["rejected"]]
        return faults

    def _sweep(self) -> None:
        """Ask every probe over old connections and over new ones."""
        port = self._system.edge_port
        name = f"since {time.monotonic():.0f}"
        fresh: list[Client] = [Http1(port, name), Http2(port, name)]
        faults: list[str] = []
        for client in [*self._old, *fresh]:
            for probe in PROBES:
                if client.closed:
                    break
                record = ask(client, probe)
                self.asked += 1
                if (fault := self.timeline.fault(record)) is not None:
                    faults.append(fault)
        closed = [client.name for client in self._old if client.closed]
        still_open = [client for client in [*self._old, *fresh] if not client.closed]
        for client in still_open[:-OLD_CLIENTS]:
            client.close()
        self._old = still_open[-OLD_CLIENTS:]
        if faults:
            raise wrong("wrong answers after the change", faults)
        drained, self._steady.closed = self._steady.closed, 0
        if (closed or drained) and not self._drains_allowed:
            raise Wrong(f"the edge closed {[*closed, *['steady'] * drained]}")

    def _judge(self) -> None:
        """Check the answers that the steady clients got meanwhile."""
        if self._steady.error is not None:
            raise Wrong(f"the steady clients failed: {self._steady.error!r}")
        records = self._steady.take()
        self.asked += len(records)
        faults = [fault for one in records if (fault := self.timeline.fault(one)) is not None]
        self.timeline.forget(time.monotonic() - 2 * TIMEOUT_S)
        if faults:
            raise wrong(f"{len(faults)} of {len(records)} steady requests", faults)

    def node(self) -> Mapping[str, Any]:
        """Return what the fleet's status says of Envoy."""
        nodes = self._system.api.get("/v1/fleet").json()["items"]
        unknown: dict[str, Any] = {"state": "unknown", "connected": False, "types": []}
        node: Mapping[str, Any] = next((o for o in nodes if o["id"] == LOCAL_NODE), unknown)
        return node

    def fleet(self) -> str:
        """Return the same as one line."""
        node = self.node()
        types = [(o["type"], o["state"], o["error"], o["rejected"]) for o in node["types"]]
        return f"{node['state']} {types}"

    def synced(self) -> bool:
        """Tell whether Envoy runs the newest revision, as the fleet's status says."""
        node = self.node()
        if not node["connected"] or node["state"] != "SYNCED":
            return False
        return bool(node["acked_revision"] >= self._system.plane.topology.revision())


def wrong(what: str, details: Sequence[str]) -> Wrong:
    """Return the error to raise, with the first few details."""
    return Wrong("\n".join([what, *(f"  {one}" for one in details[:8])]))


def _keys(snapshot: Snapshot) -> Iterator[Key]:
    for type_url in snapshot.types:
        for name in snapshot.of_type(type_url):
            yield type_url, name
