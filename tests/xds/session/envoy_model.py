"""A client that behaves as Envoy does towards a session, for scripts and model tests.

What it does with a response that it refuses is what Envoy 1.40 was seen to do (docs/adr/0042):

- clusters and listeners: all good ones are applied, and all removals, and the text names the bad;
- other types: resources are applied in an order of Envoy's own up to the first bad one, and the text
  names nothing;
- a response that can't be decoded (``refuses_whole``): nothing is applied;
- filter configurations and secrets: the same bytes again are acknowledged, and not applied;
- the versions that it names when it reconnects are those of the responses that it accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from control_plane.names import CDS, ECDS, EDS, LDS, RDS, SDS
from control_plane.xds.resource_types import FULL_STATE_TYPES
from control_plane.xds.session.delta import DeltaSession, delta_bytes
from control_plane.xds.session.response import Response
from control_plane.xds.session.session import Session
from control_plane.xds.session.sotw import SotwSession, sotw_bytes
from control_plane.xds.snapshot import Snapshot

_NOUNS = {CDS: "cluster(s)", LDS: "listener(s)"}


MAX_EXCHANGES = 500
"""More answers than any history needs: the session would go on for ever."""


class Clock:
    """A time that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class EnvoyClient:
    """What both protocols have in common: what runs, what is refused, and what that leaves."""

    def __init__(self, session: Session) -> None:
        self._any_session = session
        self.has: dict[str, dict[str, bytes]] = {}
        """The bodies that run, by type and name."""
        self.names: dict[str, set[str]] = {}
        self.refuses: set[str] = set()
        """Names of resources that are bad at present, whatever their bytes."""
        self.refuses_bodies: set[bytes] = set()
        self.refuses_whole = False
        """Whether a response with something bad in it is refused before anything is applied."""
        self._newest: dict[tuple[str, str], bytes] = {}
        self._once_good: set[tuple[str, str, bytes]] = set()
        """Filters that were applied once: what makes one bad is in its bytes."""

    def _good(self, type_url: str, name: str, body: bytes) -> bool:
        seen, self._newest[type_url, name] = self._newest.get((type_url, name)), body
        if type_url in {ECDS, SDS} and seen == body:
            return True
        return self._is_welcome(type_url, name, body)

    def _is_welcome(self, type_url: str, name: str, body: bytes) -> bool:
        if self.has[type_url].get(name) == body:
            return True  # What runs already is not looked at again.
        if (type_url, name, body) in self._once_good:
            return True
        return name not in self.refuses and body not in self.refuses_bodies

    def _apply(self, type_url: str, bodies: dict[str, bytes], removed: Iterable[str]) -> str:
        """Apply what is applied of a response; the error text, empty if all of it was good."""
        runs = self.has.setdefault(type_url, {})
        if self.refuses_whole and any(
            not self._is_welcome(type_url, *one) for one in bodies.items()
        ):
            return "goo.gle/debugproto: Proto constraint validation failed"
        if type_url in FULL_STATE_TYPES:
            bad = [name for name, body in bodies.items() if not self._good(type_url, name, body)]
            runs.update({name: body for name, body in bodies.items() if name not in bad})
            for name in removed:
                runs.pop(name, None)
            listed = ", ".join(f"{name}: no good" for name in bad)
            return f"Error adding/updating {_NOUNS[type_url]} {listed}" if bad else ""
        for name in sorted(bodies, key=lambda one: hashlib.md5(one.encode()).digest()):
            same = self._newest.get((type_url, name)) == bodies[name]
            if not self._good(type_url, name, bodies[name]):
                return "malformed IP address: x.example"
            if not (same and type_url in {ECDS, SDS}):
                runs[name] = bodies[name]
                if type_url == ECDS:
                    self._once_good.add((type_url, name, bodies[name]))
        for name in removed:
            runs.pop(name, None)
        return ""

    def take(self, responses: list[Response]) -> None:
        """Apply responses, and the ones that the answers bring, until nothing is left."""
        queue = list(responses)
        for _ in range(MAX_EXCHANGES):
            if not queue:
                return
            queue += self.apply(queue.pop(0))
        raise AssertionError(f"it goes on and on: {queue}")

    def apply(self, response: Response) -> list[Response]:
        raise NotImplementedError

    def request(self, type_url: str, *names: str) -> list[Response]:
        raise NotImplementedError

    def _ask_for_endpoints(self, type_url: str, names: Iterable[str]) -> list[Response]:
        """Envoy asks for the endpoints of clusters that it has taken before it answers."""
        runs = self.has.get(CDS, {})
        new = [n for n in names if n in runs and n not in self.names.get(EDS, set())]
        return self.request(EDS, *new) if type_url == CDS and new else []


class DeltaClient(EnvoyClient):
    """Subscribes, applies what it is sent, and ACKs or NACKs."""

    def __init__(self, session: DeltaSession) -> None:
        super().__init__(session)
        self.session = session
        self.acked: dict[str, dict[str, str]] = {}
        """The versions that it would name if it reconnected."""
        self.log: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []

    def request(self, type_url: str, *names: str, **fields: Any) -> list[Response]:
        self.names.setdefault(type_url, set()).update(names)
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url, resource_names_subscribe=names, **fields
        )
        return self.session.on_request(request)

    def apply(self, response: Response) -> list[Response]:
        message = discovery_pb2.DeltaDiscoveryResponse.FromString(delta_bytes(response))
        assert message.type_url == response.type_url
        names = tuple(resource.name for resource in message.resources)
        removed = tuple(message.removed_resources)
        self.log.append((message.type_url, names, removed))
        bodies = {resource.name: resource.resource.value for resource in message.resources}
        error = self._apply(message.type_url, bodies, removed)
        answer = discovery_pb2.DeltaDiscoveryRequest(
            type_url=message.type_url, response_nonce=message.nonce
        )
        if error:
            answer.error_detail.message = error
        else:
            acked = self.acked.setdefault(message.type_url, {})
            acked.update({resource.name: resource.version for resource in message.resources})
            for name in removed:
                acked.pop(name, None)
        more = self._ask_for_endpoints(message.type_url, names)
        return more + self.session.on_request(answer)

    def reconnect(self, session: DeltaSession) -> list[Response]:
        """Go on with a new session, as after a cut; what it is sent first."""
        self.session = session
        responses: list[Response] = []
        for type_url in tuple(self.names):
            names = self.names[type_url] if type_url not in FULL_STATE_TYPES else set()
            versions = self.acked.get(type_url, {})
            responses += self.request(type_url, *names, initial_resource_versions=versions)
        return responses


class SotwClient(EnvoyClient):
    """The same for state of the world."""

    def __init__(self, session: SotwSession) -> None:
        super().__init__(session)
        self.session = session
        self.versions: dict[str, str] = {}
        self.nonces: dict[str, str] = {}
        self.log: list[tuple[str, int]] = []

    def request(self, type_url: str, *names: str, nonce: str = "") -> list[Response]:
        self.names.setdefault(type_url, set()).update(names)
        return self.session.on_request(
            discovery_pb2.DiscoveryRequest(
                type_url=type_url,
                resource_names=sorted(self.names[type_url]),
                version_info=self.versions.get(type_url, ""),
                response_nonce=nonce or self.nonces.get(type_url, ""),
            )
        )

    def apply(self, response: Response) -> list[Response]:
        message = discovery_pb2.DiscoveryResponse.FromString(sotw_bytes(response))
        named = dict(zip((r.name for r in response.resources), message.resources, strict=True))
        type_url = message.type_url
        self.log.append((type_url, len(named)))
        self.nonces[type_url] = message.nonce
        bodies = {name: resource.value for name, resource in named.items()}
        absent = set(self.has.get(type_url, {})) - named.keys()
        error = self._apply(type_url, bodies, absent if type_url in FULL_STATE_TYPES else ())
        if not error:
            self.versions[type_url] = message.version_info
        more = self._ask_for_endpoints(type_url, named)
        answer = discovery_pb2.DiscoveryRequest(
            type_url=type_url,
            version_info=self.versions.get(type_url, ""),
            response_nonce=message.nonce,
            resource_names=sorted(self.names[type_url]),
        )
        if error:
            answer.error_detail.message = error
        return more + self.session.on_request(answer)

    def reconnect(self, session: SotwSession) -> list[Response]:
        """Go on with a new session, as after a cut; what it is sent first."""
        self.session = session
        self.nonces = {}
        return [one for type_url in tuple(self.names) for one in self.request(type_url)]


def boot(client: DeltaClient | SotwClient, routes: str = "routes") -> None:
    """Ask for everything, as a booting Envoy does."""
    client.take(client.request(CDS))
    client.take(client.request(LDS))
    client.take(client.request(RDS, routes))


def wanted(snapshot: Snapshot, type_url: str) -> dict[str, bytes]:
    """Bodies by name of a type in a snapshot."""
    return {name: one.body for name, one in snapshot.of_type(type_url).items()}


def versions(snapshot: Snapshot, type_url: str) -> dict[str, str]:
    """Versions by name of a type in a snapshot."""
    return {name: one.version for name, one in snapshot.of_type(type_url).items()}
