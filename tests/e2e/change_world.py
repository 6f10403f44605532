"""Drives a real Envoy and control plane through a sequence of changes, and checks each step.

After each change that the control plane calls done, Envoy's dump is compared with the compiled
snapshot, and every probe is asked over new and old connections. While a change is under way, an
answer may be that of the old or of the new revision.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import httpx

from tests.e2e.change_checks import ChangeChecks, Wrong
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
    drained_first,
    topology_document,
)
from tests.e2e.change_system import ChangingSystem
from tests.e2e.named_backends import NamedBackends
from tests.e2e.steady_clients import SteadyClients
from tests.support.conditions import holds_within

FLEET_S = 20.0
"""How long a good change may take, including the repetition of what was refused before."""
REFUSED_S = 0.4
"""How long the test waits for a change that Envoy must refuse."""
ODD_S = 4.0
"""How long the test waits for a change that Envoy may refuse."""
COMMITTED = frozenset({502, 504})
"""The fleet refuses the change, or has not acknowledged it in time; it is committed all the same."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The kind of system that is driven."""

    delta: bool = True
    agent: bool = False
    drains_allowed: bool = False
    """Whether the edge may close connections while things change."""
    retires_at_once: bool = False
    """Whether cells that serve are retired by force."""

    @property
    def restarts(self) -> tuple[str, ...]:
        """The processes that can be started again."""
        return ("control plane", "Envoy", *(("agent",) if self.agent else ()))


class ChangeWorld:
    """One system from its first revision on; used with `with`."""

    def __init__(self, directory: Path, variant: Variant) -> None:
        self.variant = variant
        self.wanted = at_first()
        self.done: list[str] = []
        """The steps since the start, in words."""
        self._directory = directory
        self._stack = contextlib.ExitStack()
        self._backends: NamedBackends
        self._system: ChangingSystem
        self._steady: SteadyClients
        self._checks: ChangeChecks

    @property
    def asked(self) -> int:
        """How many requests were checked."""
        return self._checks.asked

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._backends = stack.enter_context(NamedBackends(BACKENDS, self._directory))
            for file in CA_FILES:
                self._write_file(file, "good")
            self._system = stack.enter_context(
                ChangingSystem(
                    self._directory,
                    delta=self.variant.delta,
                    agent=self.variant.agent,
                    concurrency=1,
                    classifier_workers=1,
                )
            )
            self._steady = SteadyClients(self._system.edge_port)
            self._checks = ChangeChecks(self._system, self._steady, self.variant.drains_allowed)
            self._begin()
            stack.enter_context(self._steady)
            stack.callback(self._checks.close_old)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self) -> None:
        answer = self._put(self.wanted, FLEET_S)
        assert answer.status_code < 300, answer.text
        claims = [
            {"bucket": "tenant", "value": tenant, "cell": cell}
            for tenant, cell in self.wanted.claims.items()
        ]
        self._system.write("POST", "/v1/claims?wait=fleet&timeout=20s", {"claims": claims})
        self._checks.begin(self.wanted)

    def play(self, operations: Sequence[Operation]) -> None:
        """Do these operations from the first state on, then come back to it.

        Raises:
            Wrong: with the fault, and all steps since the system's start.
        """
        try:
            for operation in operations:
                self._do(operation)
            self._come_back()
        except Wrong as error:
            steps = [f"  {number}. {text}" for number, text in enumerate(self.done, 1)]
            raise Wrong("\n".join([str(error), "after, since the start:", *steps])) from None

    def _come_back(self) -> None:
        for file in CA_FILES:
            self._do(SetFile(file, "good"))
        home = at_first()
        self._write("back to the first state", home)
        for tenant, cell in home.claims.items():
            self._do(MoveClaim(tenant, cell))

    def _do(self, operation: Operation) -> None:
        after = operation(self.wanted)
        if isinstance(operation, Restart):
            self._restart(operation)
        elif after == self.wanted:
            return
        elif isinstance(operation, Put):
            self._write(repr(operation), after)
        elif isinstance(operation, MoveClaim):
            self._move(operation, after)
        else:
            self._set_file(operation, after)

    def _write(self, text: str, after: Wanted) -> None:
        """Write cells and rules; a cell is drained before it is retired, as the guards want it."""
        after = replace(after, claims=self.wanted.claims, files=self.wanted.files)
        if after == self.wanted:
            return
        drained = drained_first(self.wanted, after)
        if drained is not None and not self.variant.retires_at_once:
            self._write_one(f"{text}, drained first", drained)
        self._write_one(text, after)

    def _write_one(self, text: str, after: Wanted) -> None:
        self.done.append(text)
        begun, before = time.monotonic(), self._checks.timeline.newest
        self._checks.before_a_change()
        answer = self._put(after, self._patience(bool(after.refused()), after))
        if answer.status_code not in {200, *COMMITTED}:
            self.done[-1] += f" (not taken: {answer.status_code} {answer.text[:200]})"
            return
        self.wanted = after
        done = answer.status_code == 200
        self._checks.check(after, begun, before, done=done, said=answer.text)

    @staticmethod
    def _patience(refused: bool, wanted: Wanted) -> float:
        if refused:
            return REFUSED_S
        return ODD_S if wanted.odd_rules else FLEET_S

    def _move(self, move: MoveClaim, after: Wanted) -> None:
        """Release a name and claim it for another cell; until then its last owner may answer."""
        self.done.append(repr(move))
        timeline = self._checks.timeline
        begun, before = time.monotonic(), timeline.newest
        self._checks.before_a_change()
        key = {"bucket": "tenant", "value": move.tenant}
        self._claims("/v1/claims/release", key)
        freed = self._checks.view(self.wanted, self._checks.unreachable(self.wanted))
        timeline.add(begun, (*before, freed))
        answer = self._claims("/v1/claims", {**key, "cell": move.cell})
        self.wanted = after
        done = answer.status_code not in COMMITTED
        self._checks.check(after, begun, timeline.newest, done=done, said=answer.text)

    def _claims(self, path: str, claim: Mapping[str, str]) -> httpx.Response:
        refused = bool(self._checks.must_be_refused(self.wanted))
        wait_s = self._patience(refused, self.wanted)
        path = f"{path}?wait=fleet&timeout={round(wait_s * 1000)}ms"
        answer = self._system.api.post(path, json={"claims": [claim]})
        if answer.status_code not in {200, 201, *COMMITTED}:
            raise Wrong(f"{path}: {answer.text}")
        return answer

    def _set_file(self, operation: SetFile, after: Wanted) -> None:
        """Change a CA file. If nothing else was wrong, the control plane recovers by itself."""
        self.done.append(repr(operation))
        checks = self._checks
        refused_before = checks.must_be_refused(self.wanted)
        begun, before = time.monotonic(), checks.timeline.newest
        self._write_file(operation.file, operation.state)
        self.wanted = after
        if refused_before and not checks.must_be_refused(after):
            done = holds_within(checks.synced, self._patience(False, after))
            said = f"{operation.file} is mended, but stays refused"
            checks.check(after, begun, before, done=done, said=said)

    def _restart(self, restart: Restart) -> None:
        self.done.append(repr(restart))
        checks, edge = self._checks, restart.what != "Envoy"
        begun, before = time.monotonic(), checks.timeline.newest
        down = [replace(one, classifier=False, edge=edge) for one in before]
        checks.timeline.add(begun, (*before, *down))
        if restart.what == "control plane":
            self._system.stop_plane()
            self._system.start_plane()
        elif restart.what == "agent":
            self._system.restart_agent()
        else:
            checks.envoy_is_new()
            checks.close_old()
            with self._steady.paused():
                self._system.restart_envoy()
                if not holds_within(self._listens, FLEET_S):
                    raise Wrong(f"Envoy is up, but serves nothing: {checks.fleet()}")
        must = checks.must_be_refused(self.wanted)
        done = not must and holds_within(checks.synced, self._patience(False, self.wanted))
        checks.check(self.wanted, time.monotonic(), before, done=done, said="after a restart")

    def _put(self, wanted: Wanted, wait_s: float) -> httpx.Response:
        body = topology_document(wanted, self._backends.ports, str(self._directory))
        timeout = f"{round(wait_s * 1000)}ms"
        return self._system.api.put(
            f"/v1/topology?force=true&reason=test&wait=fleet&timeout={timeout}", json=body
        )

    def _write_file(self, name: str, state: str) -> None:
        path = self._directory / name
        if state == "missing":
            path.unlink(missing_ok=True)
            return
        contents = {"good": self._backends.ca_pem, "no PEM": b"no certificate\n", "empty": b""}
        path.write_bytes(contents[state])

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._system.edge_port), timeout=1).close()
            return True
        return False
