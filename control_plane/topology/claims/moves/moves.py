"""Moves of tenants, as `Topology.tenant_moves` offers them: each method is one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from control_plane.topology.claims.moves import rows, steps
from control_plane.topology.claims.texts import check_reason
from control_plane.topology.storage import Store, Transaction, clock
from control_plane.topology.values import Invalid, Problem, Refused, TopologyError, Written
from control_plane.topology.values.move import Move, MovePlan, MoveState, MoveStep

log = logging.getLogger(__name__)
_STEPS: Mapping[MoveStep, Callable[[Transaction, Move], Move]] = {
    MoveStep.PREFLIGHT: steps.preflight,
    MoveStep.REHEARSE: steps.rehearse,
    MoveStep.FREEZE: steps.freeze,
    MoveStep.SWITCH: steps.switch,
    MoveStep.COMPLETE: steps.complete,
}
_TIMED = tuple(state for state in MoveState if not state.ended and not state.switched)


class TenantMoves:
    """Plans moves and takes their steps.

    Every method that writes takes ``actor`` (who asks, for the audit). A step takes
    ``expected_version``: the version of the move that the caller has seen, if it shall count.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, number: int) -> Move:
        """Return a move; raise `NotFound` if there is none of this number."""
        with self._store.read() as connection:
            return rows.get(connection, number)

    def page(self, *, before: int | None = None, limit: int = 100) -> list[Move]:
        """Return moves, the newest first; only those with a number below ``before``."""
        with self._store.read() as connection:
            return rows.page(connection, before, limit)

    def count(self) -> dict[str, int]:
        """Return how many moves are in each state that some are in."""
        with self._store.read() as connection:
            return rows.count(connection)

    def plan(self, plan: MovePlan, *, actor: str, dry_run: bool = False) -> Written[Move]:
        """Plan a move. Nothing changes for requests.

        Raises:
            Invalid: the reason is missing or too long.
            NotFound: there is no such cell, or the source has none of the claims.
            Refused: the cells are the same, another move has a claim, or there are too many.
            Locked: a lease holds some of the claims.
        """
        check_reason(plan.reason)
        return self._store.written(actor, lambda tx: steps.plan(tx, plan), dry_run=dry_run)

    def step(
        self,
        number: int,
        step: MoveStep,
        *,
        actor: str,
        why: str = "",
        expected_version: int | None = None,
        dry_run: bool = False,
    ) -> Written[Move]:
        """Take a step of a move. A step that was done already changes nothing.

        Raises:
            NotFound: there is no such move, or the source has none of its claims.
            StaleVersion: the move is not at the expected version.
            Refused: the step does not lead on from the move's state, or a gate refuses it.
            Locked: a lease holds some of the claims.
        """
        if why:
            check_reason(why)

        def work(tx: Transaction) -> Move:
            move = rows.get(tx.connection, number, expected_version)
            if step is MoveStep.ROLLBACK:
                return steps.rollback(tx, move, why)
            return _STEPS[step](tx, move)

        return self._store.written(actor, work, dry_run=dry_run)

    def acknowledged(
        self, number: int, revision: int, seen: Mapping[str, Any], *, actor: str
    ) -> Written[Move]:
        """Record that all connected Envoys run a revision: a freeze is in force, a switch settled.

        Args:
            number: the move's.
            revision: what they run.
            seen: what is known of the Envoys, for the certificate.
            actor: who has waited for them.
        """

        def work(tx: Transaction) -> Move:
            return steps.acknowledged(tx, rows.get(tx.connection, number), revision, dict(seen))

        return self._store.written(actor, work)

    def verified(
        self,
        number: int,
        *,
        back: bool,
        forth: bool,
        detail: str,
        actor: str,
        dry_run: bool = False,
    ) -> Written[Move]:
        """Record that a mover says that the data is at the target, or that it can come back.

        Raises:
            NotFound: there is no such move.
            Invalid: nothing is verified.
            Refused: the move has switched or ended.
        """
        ways = [way for way, is_verified in (("back", back), ("forth", forth)) if is_verified]
        if not ways:
            raise Invalid(Problem("back", "nothing is verified", "say back, forth or both"))

        def work(tx: Transaction) -> Move:
            move = rows.get(tx.connection, number)
            if move.state.ended or move.state.switched:
                raise Refused(f"verifying move {number}", f"it is {move.state}")
            facts = {f"{way}_verified_at": tx.at.isoformat() for way in ways}
            event = {"why": detail, "ways": ways}
            return rows.note(tx, move, "verified", facts=facts, event=event)

        return self._store.written(actor, work, dry_run=dry_run)

    def report(
        self, number: int, report: Mapping[str, Any], *, actor: str, dry_run: bool = False
    ) -> Written[Move]:
        """Record what a cell or an edge has seen of the move's requests.

        Args:
            number: the move's.
            report: ``reporter``, and the counts ``in_flight``, ``refused``, ``misdirected`` and
                ``old_cell_requests``, each None if it is not known.
            actor: who reports.

        Raises:
            NotFound: there is no such move.
            Refused: it was rolled back.
        """

        def work(tx: Transaction) -> Move:
            move = rows.get(tx.connection, number)
            if move.state is MoveState.ROLLED_BACK:
                raise Refused(f"reporting on move {number}", "it was rolled back")
            return rows.note(tx, move, "report", report=report)

        return self._store.written(actor, work, dry_run=dry_run)

    def expire(self) -> list[int]:
        """Roll back every move whose state has timed out before its switch; return their numbers.

        A move that can't be rolled back is logged, and does not keep others from it.
        """
        with self._store.read() as connection:
            now = clock(connection)
            late = [move for move in rows.in_states(connection, _TIMED) if _is_late(move, now)]
        expired: list[int] = []
        for move in late:
            why = f"it was {move.state} until its time was over"
            try:
                self.step(
                    move.number,
                    MoveStep.ROLLBACK,
                    actor="moves",
                    why=why,
                    expected_version=move.version,
                )
            except TopologyError as error:
                log.warning("move %d can't be rolled back: %s", move.number, error)
                continue
            log.warning("move %d is rolled back: %s", move.number, why)
            expired.append(move.number)
        return expired


def _is_late(move: Move, now: Any) -> bool:
    return move.deadline_at is not None and move.deadline_at < now
