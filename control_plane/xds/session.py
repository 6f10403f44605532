"""What delta and state-of-the-world streams share: subscriptions, order, ACK and NACK.

A session is a pure state machine: requests and snapshots go in, responses come out. The rules are
those of Envoy's xds_protocol document; the order is make before break: additions go down
`PHASES`, each gated on the ACK of the one before, then removals go up them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from control_plane.xds.held import Held
from control_plane.xds.resource import (
    CDS,
    EDS,
    FULL_STATE_TYPES,
    PHASES,
    PUSH_ORDER,
    SHRINK_GUARD_FROM,
    Resource,
    empty_endpoints,
)
from control_plane.xds.snapshot import EMPTY, OfType, Snapshot
from control_plane.xds.type_state import (
    ResourceStatus,
    Response,
    TypeState,
    TypeStatus,
    resource_statuses,
    type_status,
)


class ProtocolError(Exception):
    """The client broke the protocol; the stream ends with INVALID_ARGUMENT."""


class Session(ABC):
    """One stream's state machine. Subclasses speak delta or state of the world."""

    def __init__(self, types: Iterable[str] = PUSH_ORDER) -> None:
        self._types: dict[str, TypeState] = {url: TypeState() for url in types}
        self._subscribed: set[str] = set()
        self._snapshot: Snapshot = EMPTY
        self._shared: Snapshot = EMPTY
        """The snapshot over which what the client has is kept; see `Held`."""
        self._in_phases: frozenset[str] = frozenset()
        self._phase_list: tuple[tuple[tuple[str, TypeState], ...], ...] = ()
        self._nonce = 0
        self._ungated = False
        self._unconfirmed = False
        self._late = False
        self._returning = False
        """Whether the client has said that it has something already."""
        self.guards_shrink = True
        self.shrunk = ""
        """Why the client is sent nothing: it would lose most of what it has."""
        self.nacks: list[tuple[str, str]] = []
        """(type, Envoy's error text) since the shell last looked."""
        self.acked_revision = 0

    @property
    def waiting(self) -> bool:
        """Whether an answer of the client is awaited."""
        return any(state.outstanding for state in self._types.values())

    @property
    def settled(self) -> bool:
        """Whether the client runs the newest snapshot, all of it."""
        return self.acked_revision == self._snapshot.revision and not self.waiting

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """What is awaited: nonces without answer, "warming", "subscriptions". Empty: nothing."""
        nonces = [s.outstanding.nonce for s in self._types.values() if s.outstanding is not None]
        if EDS in self._types and self._warming(EDS, self._types[EDS]):
            nonces.append("warming")
        if not self._complete() and any(state.gone for state in self._types.values()):
            nonces.append("subscriptions")
        return tuple(nonces)

    def on_snapshot(self, snapshot: Snapshot) -> list[Response]:
        """A newer snapshot is there; intermediate ones that were never seen don't matter."""
        if snapshot is self._snapshot:
            return []
        for type_url, names in snapshot.changed(self._snapshot).items():
            state = self._types.get(type_url)
            if state is not None and type_url in self._subscribed:
                if state.wildcard:
                    state.look_at |= names
                else:
                    state.look_at |= names & state.names
        self._snapshot = snapshot
        self._ungated = False
        if not self._subscribed:
            self._share()
        if self.shrunk:
            self._guard_shrink()
        return self.pump()

    @property
    def held(self) -> bool:
        """Whether nothing may be sent: see `await_confirmation` and ``shrunk``."""
        if self.shrunk:
            return True
        return self._unconfirmed and (self._returning or not self._late)

    def await_confirmation(self) -> None:
        """Send nothing until it is known that the snapshot is not older than what the client has.

        Versions are content hashes, which tell other from same but not older from newer.
        """
        self._unconfirmed = True

    def confirmed(self) -> list[Response]:
        """The snapshot is as new as any that the client can have had before it came."""
        self._unconfirmed = False
        return self.pump()

    def confirmation_late(self) -> list[Response]:
        """A client that has nothing goes on without; one that has something goes on waiting."""
        self._late = True
        return self.pump()

    def _guard_shrink(self) -> None:
        """Refuse to take most clusters from a client, as an empty database after a restart would.

        The cache's own guard compares with what this process has published before; it can't when
        the process is new.
        """
        state = self._types.get(CDS)
        if state is None or not self.guards_shrink:
            return
        before = len(state.has)
        whole = self._snapshot.whole(CDS)
        unlike = state.has.unlike(whole.names, whole.versions)
        kept = len(whole.names) - sum(name not in state.has for name in unlike)
        self.shrunk = state.error = ""
        if before >= SHRINK_GUARD_FROM and kept * 2 < before:
            self.shrunk = state.error = (
                f"the node has {before} clusters and would keep {kept}: nothing is sent to it; "
                "force it if that is meant"
            )

    def _share(self) -> None:
        """Keep what the client has as differences from the newest snapshot."""
        if self._shared is self._snapshot:
            return
        changes = self._snapshot.changed(self._shared)
        for type_url in self._subscribed:
            versions = self._snapshot.whole(type_url).versions
            self._types[type_url].has.rebase(versions, changes.get(type_url, ()))
        self._shared = self._snapshot

    def on_timeout(self) -> list[Response]:
        """The awaited answer is late: stop gating, so that one type can't freeze all."""
        self._ungated = True
        return self.pump()

    def pump(self) -> list[Response]:
        """Everything that may be sent now."""
        responses: list[Response] = []
        if self.held:
            return responses
        if self._updates(responses) and self._removals(responses):
            rejected = any(state.rejected for state in self._types.values())
            if not rejected and not self.waiting and self._complete():
                self.acked_revision = self._snapshot.revision
                self._share()
        return responses

    def _complete(self) -> bool:
        """Whether the client has asked for every type that there is: a booting one has not yet."""
        return bool(self._subscribed) and all(
            type_url in self._subscribed
            for type_url in self._types
            if self._snapshot.of_type(type_url)
        )

    def _phases(self) -> tuple[tuple[tuple[str, TypeState], ...], ...]:
        """The subscribed types with their states, by phase."""
        if len(self._in_phases) < len(self._subscribed):
            self._in_phases = frozenset(self._subscribed)
            self._phase_list = tuple(
                tuple((url, self._types[url]) for url in phase if url in self._subscribed)
                for phase in PHASES
            )
        return self._phase_list

    def _updates(self, responses: list[Response]) -> bool:
        """Send additions and changes, phase by phase; True once all of them are answered."""
        done = True
        for phase in self._phases():
            for type_url, state in phase:
                if state.outstanding is None:
                    response = self._update(type_url, state)
                    if response is not None:
                        responses.append(response)
            if any(state.outstanding or self._warming(url, state) for url, state in phase):
                done = False
                if not self._ungated:
                    return False
        return done

    def _warming(self, type_url: str, state: TypeState) -> bool:
        """Whether clusters were accepted whose endpoints the client has not asked for yet."""
        if type_url != EDS or CDS not in self._subscribed:
            return False
        with_endpoints = self._snapshot.whole(EDS).names
        if state.wildcard or with_endpoints is state.names:
            return False
        clusters = self._types[CDS]
        return bool(clusters.has) and any(
            name in clusters.has and name not in clusters.rejected
            for name in with_endpoints - state.names
        )

    def _named(self, type_url: str, state: TypeState, names: AbstractSet[str]) -> None:
        """Set the names that the client subscribes to; one set for all that name everything."""
        everything = self._snapshot.whole(type_url).names
        state.names = everything if names == everything else frozenset(names)

    def _removals(self, responses: list[Response]) -> bool:
        """Send removals in reverse order; True once all of them are answered."""
        if any(state.rejected for state in self._types.values()):
            # What was refused may still refer to what would be removed.
            return True
        if not self._complete() and not self._ungated:
            # A reconnecting client runs routes that it has not told us of yet.
            self._tell_absent(responses)
            return not any(state.gone for state in self._types.values())
        for phase in reversed(self._phases()):
            for type_url, state in reversed(phase):
                if state.outstanding is None:
                    response = self._remove(type_url, state)
                    if response is not None:
                        responses.append(response)
            if any(state.outstanding for _, state in phase) and not self._ungated:
                return False
        return True

    def _tell_absent(self, responses: list[Response]) -> None:
        """Answer for names that do not exist and that the client never had."""
        for type_url, state in self._types.items():
            absent = {name for name in state.gone if name not in state.has}
            if absent and state.outstanding is None:
                kept, state.gone = state.gone - absent, absent
                response = self._remove(type_url, state)
                state.gone |= kept
                if response is not None:
                    responses.append(response)

    @abstractmethod
    def _update(self, type_url: str, state: TypeState) -> Response | None:
        """The response with what changed, if anything did."""

    @abstractmethod
    def _remove(self, type_url: str, state: TypeState) -> Response | None:
        """The response that removes what is gone, if anything is."""

    def _state(self, type_url: str) -> TypeState:
        state = self._types.get(type_url)
        if state is None:
            raise ProtocolError(f"type {type_url!r} is not served here")
        return state

    def _target(self, type_url: str, name: str, state: TypeState) -> Resource | None:
        resource = self._snapshot.of_type(type_url).get(name)
        if resource is None and type_url == EDS and name in state.names:
            return empty_endpoints(name)
        return resource

    def _due(self, type_url: str, state: TypeState) -> Sequence[Resource]:
        """Resources to send; what has no resource any more is noted as gone."""
        if not state.look_at and not state.resend:
            return ()
        whole = self._snapshot.whole(type_url)
        looked_at: AbstractSet[str] = state.look_at
        if not state.gone and not state.rejected:
            looked_at = state.has.unlike(state.look_at, whole.versions)
            if self._all_due(state, looked_at, whole):
                state.look_at, state.resend = set(), set()
                return whole.ordered
        due: list[Resource] = []
        for name in sorted(looked_at | state.resend):
            if not state.wants(name):
                continue
            target = self._target(type_url, name, state)
            if target is None:
                state.rejected.pop(name, None)
                if name in state.has or name in state.names:
                    state.gone.add(name)
                continue
            state.gone.discard(name)
            refused = state.rejected.get(name)
            if refused is not None and refused != target.version:
                del state.rejected[name]
                refused = None
            changed = state.has.get(name) != target.version or name in state.resend
            if changed and refused is None:
                due.append(target)
        # Not clear(): an emptied set keeps its memory, and there is one for each type and node.
        state.look_at, state.resend = set(), set()
        return due

    @staticmethod
    def _all_due(state: TypeState, looked_at: AbstractSet[str], whole: OfType) -> bool:
        """Whether a client that has nothing is to get everything: one answer for all such."""
        return (
            not state.has
            and looked_at == whole.names
            and (state.wildcard or whole.names <= state.names)
            and state.resend <= whole.names
        )

    def _send(
        self,
        type_url: str,
        state: TypeState,
        resources: Sequence[Resource],
        removed: tuple[str, ...],
        version: str,
    ) -> Response:
        self._nonce += 1
        # tuple() of a tuple is that tuple, so that all sessions share it.
        sent = tuple(resources)
        response = Response(type_url, str(self._nonce), version, sent, removed)
        state.outstanding = response
        state.sent_version = version
        state.before_outstanding = state.has.copy()
        whole = self._snapshot.whole(type_url)
        endpoints = self._types.get(EDS)
        if type_url == CDS and endpoints is not None:
            # A changed cluster warms until its endpoints come again, changed or not.
            changed = {one.name for one in sent if state.has.get(one.name) != one.version}
            endpoints.resend |= changed & endpoints.names
        if sent is whole.ordered and not state.has:
            self._share()
            state.has = Held(whole.versions)
            return response
        for resource in sent:
            state.has[resource.name] = resource.version
        for name in removed:
            state.has.pop(name, None)
        return response

    def _answered(self, type_url: str, state: TypeState, nonce: str, error: str | None) -> None:
        """Note an ACK or NACK (error text given) of the outstanding response."""
        response = state.outstanding
        if response is None or nonce != response.nonce:
            return
        state.outstanding = None
        if error is None:
            state.acked_version = response.version
            state.error = "" if not state.rejected else state.error
            return
        state.error = error
        self.nacks.append((type_url, error))
        for resource in response.resources:
            before = state.before_outstanding.get(resource.name)
            if before == resource.version:
                continue
            state.rejected[resource.name] = resource.version
            if before is None:
                state.has.pop(resource.name, None)
            else:
                state.has[resource.name] = before

    def statuses(self) -> tuple[TypeStatus, ...]:
        """Each subscribed type's state."""
        return tuple(
            type_status(type_url, state)
            for type_url, state in self._types.items()
            if type_url in self._subscribed
        )

    def resources(self) -> Iterator[ResourceStatus]:
        """Each resource that the client has or asked for, by type in push order and by name."""
        for type_url, state in self._types.items():
            if type_url in self._subscribed:
                yield from resource_statuses(type_url, state, self._snapshot)

    def client_versions(self) -> Mapping[str, Mapping[str, str]]:
        """What the client has, by type and name (the server's view; for CSDS and tests)."""
        return {url: dict(self._types[url].has) for url in self._subscribed}


def legacy_wildcard(type_url: str) -> bool:
    """Whether an empty first request asks for everything.

    Only for listeners and clusters: for on-demand types it would return the whole world.
    """
    return type_url in FULL_STATE_TYPES
