"""A bounded model of the edge map: every interleaving of moves, streams, epochs, restarts and requests.

One shard with one name, one Envoy, one agent. Revision r is the move that makes r the owner, so an
owner is older than another if its number is smaller. What is modelled, in steps that interleave at
will:

    control plane    commits moves; a replica is a choice at each step: it may have any revision
                     up to the newest
    agent            takes changes from a replica, as a whole or in two frames; writes its disk; is
                     killed and starts from its disk
    stream           agent to Envoy: one frame on its way, which may be late, come twice, or be lost
                     with the stream; a new stream goes on where the Envoy is
    Envoy            applies a frame in two steps, the records and the revision; looks up in two
                     steps, so that a frame may be applied between them; tells what it has;
                     starts anew from what was saved before all moves
    epochs           come by xDS, of any revision that is not older; at a new ADS stream, of the
                     newest committed one
    ``wait=fleet``   returns for a move once the Envoy has its epoch, or has told that its table
                     has the move, or has no ADS stream

`explore` visits each reachable state, and returns the shortest way to an answer that is wrong: older
than the table says that it is, or older than a move that ``wait=fleet`` had returned for when the
request came. An Envoy without ADS whose table lacks the move can't know of it, and is excepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.support import interleavings


class Table(NamedTuple):
    """A table of one name."""

    owner: int = 0
    revision: int = 0
    """Up to which it says that it is complete."""


class Frame(NamedTuple):
    """CHANGES on its way to Envoy; owner None: no record."""

    owner: int | None
    revision: int


class Request(NamedTuple):
    """A look-up whose first half is done."""

    returned: int
    """The newest move that ``wait=fleet`` had returned for when the request came."""
    known: int
    """The epoch."""
    ads: bool
    """Whether Envoy had a stream of epochs."""
    revision: int | None
    owner: int | None


class State(NamedTuple):
    """Everything at one moment."""

    newest: int = 0
    agent: Table = Table()
    disk: Table = Table()
    sent: Table | None = Table()
    """What the agent takes the Envoy to have once the frame has come; None: there is no stream."""
    frame: Frame | None = None
    envoy: Table = Table()
    applying: Frame | None = None
    """The frame whose first half is applied."""
    known: int = 0
    """The epoch that Envoy has."""
    ads: bool = True
    told: int = 0
    """The newest revision that the control plane was told this Envoy has."""
    returned: int = 0
    """The newest move that ``wait=fleet`` has returned for."""
    request: Request | None = None
    faults: int = 0


@dataclass(frozen=True)
class Rules:
    """The rules of the protocol; tests break one and expect the error to be found."""

    checks_freshness: bool = True
    """An answer counts only if the table is not older than the epoch."""
    resumes_with_all: bool = True
    """A new stream begins with all that the reader lacks."""
    records_first: bool = True
    """The revision of a frame counts when its records are applied."""
    revision_first: bool = True
    """A look-up reads the revision of the table before the owner."""
    holds_who_is_ahead: bool = True
    """A reader that is newer than the journal is sent nothing."""
    tells_of_envoy: bool = True
    """What the control plane is told is the Envoy's revision, not the agent's."""
    waits: bool = True
    """``wait=fleet`` waits for the Envoy."""


Step = tuple[str, State]


@dataclass(frozen=True)
class Size:
    """How much happens."""

    moves: int
    faults: int


def steps(state: State, rules: Rules, size: Size) -> Iterator[Step]:
    """Return all that may happen next."""
    yield from _control_plane(state, size)
    yield from _agent(state)
    yield from _stream(state, rules)
    yield from _envoy(state, rules)
    if state.faults < size.faults:
        for what, after in _faults(state):
            yield what, after._replace(faults=state.faults + 1)


def settled(state: State, rules: Rules) -> State:
    """Return the state after what is worst at once: the Envoy has told, ``wait=fleet`` has returned.

    The sooner they do, the more is asked of an answer, and nothing else depends on them.
    """
    told = state.told
    if state.applying is None:
        table = state.envoy if rules.tells_of_envoy else state.agent
        told = max(told, table.revision)
    has_all = not state.ads or not rules.waits
    returned = state.newest if has_all else max(state.returned, state.known, told)
    return state._replace(told=told, returned=min(returned, state.newest))


def _control_plane(state: State, size: Size) -> Iterator[Step]:
    if state.newest < size.moves:
        yield "move", state._replace(newest=state.newest + 1)
    if state.ads:
        for revision in range(state.known + 1, state.newest + 1):
            yield f"push {revision}", state._replace(known=revision)
    else:
        yield "ADS again", state._replace(ads=True, known=state.newest)


def _agent(state: State) -> Iterator[Step]:
    agent = state.agent
    for revision in range(agent.revision + 1, state.newest + 1):
        yield f"agent has {revision}", state._replace(agent=Table(revision, revision))
        if agent.owner < revision:
            yield (
                f"agent has a part of {revision}",
                state._replace(agent=Table(revision, agent.revision)),
            )
    if state.disk != agent:
        yield "written", state._replace(disk=agent)


def _stream(state: State, rules: Rules) -> Iterator[Step]:
    agent, sent = state.agent, state.sent
    if sent is None:
        skipped = Table(agent.owner, state.envoy.revision)
        after = state.envoy if rules.resumes_with_all else skipped
        yield "stream again", state._replace(sent=after)
        return
    is_ahead = sent.revision > agent.revision
    if state.frame is None and agent != sent and not (is_ahead and rules.holds_who_is_ahead):
        record = agent.owner if agent.owner != sent.owner else None
        yield "frame", state._replace(sent=agent, frame=Frame(record, agent.revision))
    if state.frame is not None and state.applying is None:
        half = _half(state.envoy, state.frame, first=rules.records_first)
        yield "arrives", state._replace(frame=None, envoy=half, applying=state.frame)


def _half(table: Table, frame: Frame, *, first: bool) -> Table:
    """Return a table with the records of a frame (``first``), or with its revision."""
    if first:
        return table if frame.owner is None else Table(frame.owner, table.revision)
    return Table(table.owner, frame.revision)


def _envoy(state: State, rules: Rules) -> Iterator[Step]:
    if state.applying is not None:
        table = _half(state.envoy, state.applying, first=not rules.records_first)
        yield "is applied", state._replace(envoy=table, applying=None)
    if state.request is None:
        first = (state.envoy.revision, None) if rules.revision_first else (None, state.envoy.owner)
        request = Request(state.returned, state.known, state.ads, *first)
        yield "request", state._replace(request=request)
    else:
        yield "answer", state._replace(request=None)


def _faults(state: State) -> Iterator[Step]:
    if state.sent is not None:
        yield "stream is cut", state._replace(sent=None, frame=None, applying=None)
    if state.frame is not None and state.applying is None:
        # The frame comes, and comes once more.
        yield "doubled", state._replace(envoy=_whole(state.envoy, state.frame))
    if state.ads:
        yield "ADS is cut", state._replace(ads=False)
    cut = state._replace(sent=None, frame=None, applying=None)
    yield "agent is killed", cut._replace(agent=state.disk)
    # At the worst, the snapshot that Envoy starts from is from before all moves.
    yield "Envoy starts anew", cut._replace(envoy=Table(), known=0, ads=False, request=None)


def _whole(table: Table, frame: Frame) -> Table:
    return Table(table.owner if frame.owner is None else frame.owner, frame.revision)


def wrong(state: State, rules: Rules) -> str | None:
    """Return what is wrong with the answer that the open request gets now; None: nothing."""
    request, table = state.request, state.envoy
    if request is None:
        return None
    revision = table.revision if request.revision is None else request.revision
    owner = table.owner if request.owner is None else request.owner
    if rules.checks_freshness and revision < request.known:
        return None
    if owner < revision:
        return f"owner {owner} of a table that is complete up to {revision}"
    if owner > state.newest:
        return f"owner {owner} that never was"
    if owner < request.returned and request.ads:
        return f"owner {owner} after wait=fleet has returned for {request.returned}"
    return None


def explore(rules: Rules, size: Size) -> tuple[int, list[str] | None]:
    """Return the number of states, and the shortest way to a wrong answer, if there is one."""

    def next_steps(state: State) -> Iterator[tuple[str, State, str | None]]:
        for what, after in steps(state, rules, size):
            worst = settled(after, rules)
            yield what, worst, wrong(worst, rules)

    return interleavings.explore(State(), next_steps)


def main() -> None:
    """Explore more than `make test` does, for `make soak`."""
    for size in (Size(2, 2), Size(3, 1)):
        states, error = explore(Rules(), size)
        print(f"{size}: {states} states, {'no error' if error is None else error}", flush=True)
        if error is not None:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
