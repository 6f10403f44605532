"""A client that behaves as Envoy does towards a session, for scripts and model tests."""

from __future__ import annotations

from typing import Any

from envoy.service.discovery.v3 import discovery_pb2

from control_plane.xds.delta import DeltaSession, delta_bytes
from control_plane.xds.resource import CDS, EDS, FULL_STATE_TYPES, LDS, RDS
from control_plane.xds.snapshot import Snapshot
from control_plane.xds.sotw import SotwSession, sotw_bytes
from control_plane.xds.type_state import Response


class DeltaClient:
    """Subscribes, applies what it is sent, and ACKs or NACKs."""

    def __init__(self, session: DeltaSession) -> None:
        self.session = session
        self.has: dict[str, dict[str, str]] = {}
        self.names: dict[str, set[str]] = {}
        self.refuses: set[str] = set()
        self.log: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []

    def request(self, type_url: str, *names: str, **fields: Any) -> list[Response]:
        self.names.setdefault(type_url, set()).update(names)
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url, resource_names_subscribe=names, **fields
        )
        return self.session.on_request(request)

    def take(self, responses: list[Response]) -> None:
        """Apply responses, and the ones that the answers bring, until nothing is left."""
        queue = list(responses)
        while queue:
            queue += self.apply(queue.pop(0))

    def apply(self, response: Response) -> list[Response]:
        message = discovery_pb2.DeltaDiscoveryResponse.FromString(delta_bytes(response))
        assert message.type_url == response.type_url
        has = self.has.setdefault(message.type_url, {})
        names = tuple(resource.name for resource in message.resources)
        self.log.append((message.type_url, names, tuple(message.removed_resources)))
        refused = [name for name in names if name in self.refuses]
        answer = discovery_pb2.DeltaDiscoveryRequest(
            type_url=message.type_url, response_nonce=message.nonce
        )
        if refused:
            answer.error_detail.message = f"no good: {', '.join(refused)}"
        else:
            has.update({resource.name: resource.version for resource in message.resources})
            for name in message.removed_resources:
                has.pop(name, None)
        more: list[Response] = []
        if message.type_url == CDS and not refused:
            # Envoy asks for the endpoints of new clusters before it answers.
            new = [n for n in names if n not in self.names.get(EDS, set())]
            if new:
                more += self.request(EDS, *new)
        return more + self.session.on_request(answer)


class SotwClient:
    """The same for state of the world."""

    def __init__(self, session: SotwSession) -> None:
        self.session = session
        self.has: dict[str, dict[str, bytes]] = {}
        self.names: dict[str, list[str]] = {}
        self.versions: dict[str, str] = {}
        self.refuses: set[bytes] = set()
        self.log: list[tuple[str, int]] = []

    def request(self, type_url: str, *names: str, nonce: str = "") -> list[Response]:
        self.names[type_url] = sorted({*self.names.get(type_url, []), *names})
        return self.session.on_request(
            discovery_pb2.DiscoveryRequest(
                type_url=type_url,
                resource_names=self.names[type_url],
                version_info=self.versions.get(type_url, ""),
                response_nonce=nonce,
            )
        )

    def take(self, responses: list[Response]) -> None:
        queue = list(responses)
        while queue:
            queue += self.apply(queue.pop(0))

    def apply(self, response: Response) -> list[Response]:
        message = discovery_pb2.DiscoveryResponse.FromString(sotw_bytes(response))
        named = dict(zip((r.name for r in response.resources), message.resources, strict=True))
        self.log.append((message.type_url, len(named)))
        answer = discovery_pb2.DiscoveryRequest(
            type_url=message.type_url,
            response_nonce=message.nonce,
            resource_names=self.names[message.type_url],
        )
        if any(resource.value in self.refuses for resource in named.values()):
            answer.version_info = self.versions.get(message.type_url, "")
            answer.error_detail.message = "no good"
            return self.session.on_request(answer)
        fresh = {name: resource.value for name, resource in named.items()}
        before = {} if message.type_url in FULL_STATE_TYPES else self.has.get(message.type_url, {})
        self.has[message.type_url] = before | fresh
        self.versions[message.type_url] = answer.version_info = message.version_info
        more: list[Response] = []
        if message.type_url == CDS:
            new = [name for name in named if name not in self.names.get(EDS, [])]
            if new:
                more += self.request(EDS, *new)
        return more + self.session.on_request(answer)


def boot(client: DeltaClient | SotwClient, routes: str = "routes") -> None:
    """Ask for everything, as a booting Envoy does."""
    client.take(client.request(CDS))
    client.take(client.request(LDS))
    client.take(client.request(RDS, routes))


def wanted(snapshot: Snapshot, type_url: str) -> dict[str, str]:
    """Versions by name of a type in a snapshot."""
    return {name: one.version for name, one in snapshot.of_type(type_url).items()}
