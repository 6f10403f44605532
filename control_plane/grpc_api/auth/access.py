"""The access rules of every method on the gRPC port.

The problem: several services share one port, and each method admits other callers. The protocol's
``.proto`` files say so for its own methods. Envoy's xDS, ext_authz, health and reflection
have no such rules, and a method that somebody adds later must not be open by accident.

The idea: `access_for` returns the rules of any method. Those of the protocol are read from the
descriptors' ``access_control`` option, those of Envoy's services are written here, and every other
method is for admins.

An example: ClaimService's BeginUpdate has ``RULE_ALLOW_MATCHING_CELL_ONLY``, which becomes
``Access(matching_cell=True)``. A caller whose certificate names cell 3 may then send ``cell_id: 3``
and is refused with ``cell_id: 4``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from google.protobuf.descriptor import ServiceDescriptor

from control_plane.grpc_api.auth.identity import Caller, Role
from control_plane.grpc_api.generated import (
    cell_service_pb2,
    claim_service_pb2,
    classify_service_pb2,
    health_service_pb2,
    sequence_service_pb2,
)
from control_plane.grpc_api.generated.autz_pb2 import (
    RULE_ALLOW_ANY_ADMIN,
    RULE_ALLOW_ANY_AUTHENTICATED,
    RULE_ALLOW_ANY_CELL,
    RULE_ALLOW_ANY_ROUTER,
    RULE_ALLOW_MATCHING_CELL_ONLY,
    access_control,
)
from control_plane.grpc_api.generated.claims.v1 import service_pb2
from control_plane.names import AUTHORIZATION_SERVICE, OWNERS_SERVICE


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of a method. They are alternatives: one that admits the caller is enough."""

    anyone: bool = False
    """Every caller whose certificate names a cell, a router, an admin or a node."""
    roles: frozenset[Role] = frozenset()
    """Callers that have one of these roles."""
    matching_cell: bool = False
    """A cell whose id is the request's ``cell_id``."""
    matching_node: bool = False
    """A node that each request's ``node`` names, with its own group."""
    named_node: bool = False
    """A node; requests that have a ``node_id`` name it."""

    def refusal(self, caller: Caller, cell_id: int | None) -> str | None:
        """Return why this caller may not make this call; None if it may."""
        if self.anyone or any(caller.has(role) for role in self.roles):
            return None
        if self.matching_cell and caller.has(Role.CELL):
            if cell_id in caller.cell_ids:
                return None
            return f"{caller} may not act for cell {cell_id}"
        if (self.matching_node or self.named_node) and caller.has(Role.NODE):
            return None
        return f"{caller} may not call this"

    def node_refusal(self, caller: Caller, node_id: str, group: str) -> str | None:
        """Return why this caller may not be served as this node; None if it may."""
        if self.anyone or any(caller.has(role) for role in self.roles):
            return None
        for one in caller.identities:
            if one.role is Role.NODE and (one.group, one.node) == (group, node_id):
                return None
        return f"{caller} may not be served as node {node_id!r} of group {group!r}"

    def name_refusal(self, caller: Caller, node_id: str) -> str | None:
        """Return why this caller may not name itself so; None if it may."""
        if self.anyone or any(caller.has(role) for role in self.roles):
            return None
        if any(one.role is Role.NODE and one.node == node_id for one in caller.identities):
            return None
        return f"{caller} may not be served as node {node_id!r}"


ANYONE = Access(anyone=True)
ADMIN_ONLY = Access(roles=frozenset({Role.ADMIN}))
ENVOYS = Access(roles=frozenset({Role.NODE, Role.ADMIN}))
OWN_GROUP = Access(roles=frozenset({Role.ADMIN}), matching_node=True)
OWN_NODE = Access(roles=frozenset({Role.ADMIN}), named_node=True)
_ROLES: Mapping[int, Role] = MappingProxyType(
    {
        RULE_ALLOW_ANY_CELL: Role.CELL,
        RULE_ALLOW_ANY_ROUTER: Role.ROUTER,
        RULE_ALLOW_ANY_ADMIN: Role.ADMIN,
    }
)


def access_of(rules: Collection[int]) -> Access:
    """Return the rules of an ``access_control`` option.

    A method without the option is open to everyone with a certificate. A rule that only newer
    protocols know admits nobody.
    """
    if not rules:
        return ANYONE
    return Access(
        anyone=RULE_ALLOW_ANY_AUTHENTICATED in rules,
        roles=frozenset(_ROLES[rule] for rule in rules if rule in _ROLES),
        matching_cell=RULE_ALLOW_MATCHING_CELL_ONLY in rules,
    )


def access_by_method(service: ServiceDescriptor) -> dict[str, Access]:
    """Return the rules of each method of a service, by ``/service/method``."""
    return {
        f"/{service.full_name}/{method.name}": access_of(
            # protoc's stub calls the extension a field.
            method.GetOptions().Extensions[access_control].authorization_rules  # type: ignore[index]
        )
        for method in service.methods
    }


_PROTOCOL_ACCESS: Mapping[str, Access] = MappingProxyType(
    {
        method: access
        for module in (
            cell_service_pb2,
            claim_service_pb2,
            classify_service_pb2,
            health_service_pb2,
            sequence_service_pb2,
            service_pb2,
        )
        for service in module.DESCRIPTOR.services_by_name.values()
        for method, access in access_by_method(service).items()
    }
)


def access_for(method: str) -> Access:
    """Return the rules of any ``/service/method`` on the port. Unknown methods are for admins."""
    access = _PROTOCOL_ACCESS.get(method)
    return _access_beyond_protocol(method) if access is None else access


def _access_beyond_protocol(method: str) -> Access:
    service = method.rpartition("/")[0].lstrip("/")
    if service == "grpc.health.v1.Health" or service.startswith("grpc.reflection."):
        return ANYONE
    if service == AUTHORIZATION_SERVICE:
        return ENVOYS
    if service == OWNERS_SERVICE:
        return OWN_NODE
    if service.startswith("envoy.service.") and service.endswith("DiscoveryService"):
        # The client status service tells about the whole fleet, so nodes may not call it.
        return ADMIN_ONLY if ".status." in service else OWN_GROUP
    return ADMIN_ONLY
