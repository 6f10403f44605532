"""What must hold after each change: of Envoy's dump, of the fleet's status and of every answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from control_plane.cli.local import LOCAL_NODE
from control_plane.names import CDS, EDS, LDS, RDS
from control_plane.publisher.publisher import EdgeSnapshots
from control_plane.server.traffic import traffic_policy
from control_plane.xds.snapshot import Snapshot
from tests.e2e.change_operations import Wanted
from tests.e2e.change_rules import PROBES
from tests.e2e.change_system import ChangingSystem
from tests.e2e.change_views import Timeline, View, backends_of
from tests.e2e.envoy_state import EnvoyState, Key, differences
from tests.e2e.steady_clients import TIMEOUT_S, Client, Http1, Http2, SteadyClients, ask

SETTLE_S = 8.0
"""How long what is not refused may take to get through beside what is."""
LATER_S = 1.0
"""When what differs is looked at once more, to tell late from never."""
OLD_CLIENTS = 4
POLL_S = 0.05


class Wrong(AssertionError):
    """The system does what it must not do."""


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition comes to hold in that time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


class ChangeChecks:
    """Knows what Envoy has taken so far, and which answers are right; raises `Wrong`.

    ``drains_allowed``: whether the edge may close connections while things change.
    """

    def __init__(self, system: ChangingSystem, steady: SteadyClients, drains_allowed: bool) -> None:
        self._system = system
        self._steady = steady
        self._drains_allowed = drains_allowed
        self._old: list[Client] = []
        self._accepted: dict[str, str] = {}
        """The version of each cell's cluster that Envoy is known to run."""
        self._withheld: set[Key] = set()
        """What was published since Envoy last ran all; it may keep that as long as it refuses."""
        self.timeline: Timeline
        self.asked = 0

    def begin(self, wanted: Wanted) -> None:
        """The first state is there."""
        self.timeline = Timeline(self.view(wanted))
        self._runs_all(self.snapshot())

    def close_old(self) -> None:
        """Close the connections that were kept."""
        for client in self._old:
            client.close()
        self._old = []

    def envoy_is_new(self) -> None:
        """Envoy has been started anew, and knows nothing."""
        self._accepted.clear()
        self._withheld.clear()

    def before_a_change(self) -> None:
        """What is published now may be withdrawn by what comes."""
        self._withheld |= set(_keys(self.snapshot()))

    def snapshot(self) -> Snapshot:
        """What the topology compiles to, from nothing."""
        plane = self._system.plane
        policy = traffic_policy(
            plane.settings, grpc_port=plane.ports.grpc, classifier_port=plane.ports.classifier
        )
        return EdgeSnapshots(policy).of(plane.topology.snapshot())

    def view(self, wanted: Wanted, unreachable: frozenset[str] = frozenset()) -> View:
        """What the evaluator says now about each probe."""
        outcomes = {}
        for probe in PROBES:
            headers = [(name, value.encode()) for name, value in probe.headers]
            outcomes[probe] = self._system.expected(
                "GET", probe.target.encode(), probe.host.encode(), headers
            )
        return View(outcomes, backends_of(wanted), unreachable)

    def must_be_refused(self, wanted: Wanted) -> frozenset[str]:
        """The cells whose cluster Envoy does not run, and can't take at present."""
        versions = self.snapshot().whole(CDS).versions
        return frozenset(
            name
            for name in wanted.refused()
            if versions.get(f"cell:{name}") != self._accepted.get(name)
        )

    def unreachable(self, wanted: Wanted) -> frozenset[str]:
        """Those of them that Envoy has never had."""
        return self.must_be_refused(wanted) - self._accepted.keys()

    def check(
        self, wanted: Wanted, begun: float, before: tuple[View, ...], *, done: bool, said: str
    ) -> None:
        """The control plane has called a change done, or has said that it is not."""
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
        if found := self._differences(snapshot):
            time.sleep(LATER_S)
            later = self._differences(snapshot)
            kind = "for good" if later == found else f"a second later {later or 'all is well'}"
            raise wrong(f"done, but Envoy runs other than published ({kind})", found)
        self._runs_all(snapshot)
        self._check_synced()
        self._sweep()

    def _differences(self, snapshot: Snapshot, besides: set[Key] | None = None) -> list[str]:
        state = EnvoyState.read(self._system.admin_port)
        return differences(state, snapshot, besides=besides or ())

    def _runs_all(self, snapshot: Snapshot) -> None:
        self._withheld.clear()
        self._accepted = {
            name.removeprefix("cell:"): version
            for name, version in snapshot.whole(CDS).versions.items()
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
        """What is refused is named with Envoy's own words, and nothing else lacks."""
        until(lambda: self._refusal_faults(wanted, must) == [], SETTLE_S)
        if faults := self._refusal_faults(wanted, must):
            raise wrong(f"{sorted(must)} can't be taken, but the fleet says", faults)
        besides = {(kind, f"cell:{name}") for name in must for kind in (CDS, EDS)}
        besides |= self._withheld - set(_keys(snapshot))
        if wanted.odd_rules:
            besides |= {key for key in _keys(snapshot) if key[0] in {LDS, RDS}}
        until(lambda: self._differences(snapshot, besides) == [], SETTLE_S)
        if found := self._differences(snapshot, besides):
            raise wrong(f"besides {sorted(must)}, which it refuses", found)
        for name, version in snapshot.whole(CDS).versions.items():
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
        """Ask every probe over connections that are old, and over new ones."""
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
        kept = [client for client in [*self._old, *fresh] if not client.closed]
        for client in kept[:-OLD_CLIENTS]:
            client.close()
        self._old = kept[-OLD_CLIENTS:]
        if faults:
            raise wrong("wrong answers after the change", faults)
        drained, self._steady.closed = self._steady.closed, 0
        if (closed or drained) and not self._drains_allowed:
            raise Wrong(f"the edge closed {[*closed, *['steady'] * drained]}")

    def _judge(self) -> None:
        """Look at what the steady clients got meanwhile."""
        if self._steady.error is not None:
            raise Wrong(f"the steady clients failed: {self._steady.error!r}")
        records = self._steady.take()
        self.asked += len(records)
        faults = [fault for one in records if (fault := self.timeline.fault(one)) is not None]
        self.timeline.forget(time.monotonic() - 2 * TIMEOUT_S)
        if faults:
            raise wrong(f"{len(faults)} of {len(records)} steady requests", faults)

    def node(self) -> Mapping[str, Any]:
        """What the fleet's status says of Envoy."""
        nodes = self._system.api.get("/v1/fleet").json()["items"]
        unknown: dict[str, Any] = {"state": "unknown", "connected": False, "types": []}
        found: Mapping[str, Any] = next((o for o in nodes if o["id"] == LOCAL_NODE), unknown)
        return found

    def fleet(self) -> str:
        """The same on one line."""
        node = self.node()
        types = [(o["type"], o["state"], o["error"], o["rejected"]) for o in node["types"]]
        return f"{node['state']} {types}"

    def synced(self) -> bool:
        """Whether the fleet's status says that Envoy runs the newest revision."""
        node = self.node()
        if not node["connected"] or node["state"] != "SYNCED":
            return False
        return bool(node["acked_revision"] >= self._system.plane.topology.revision())


def wrong(what: str, details: Sequence[str]) -> Wrong:
    """What to raise, with the first few details."""
    return Wrong("\n".join([what, *(f"  {one}" for one in details[:8])]))


def _keys(snapshot: Snapshot) -> Iterator[Key]:
    for type_url in snapshot.types:
        for name in snapshot.of_type(type_url):
            yield type_url, name
