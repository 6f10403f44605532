"""Random sequences of changes against one variant of the system; one that fails is shrunk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from hypothesis import HealthCheck as Check
from hypothesis import Phase, given, settings

from tests.e2e.change_operations import Operation, operations
from tests.e2e.change_world import ChangeWorld, Variant

MOST = 10
"""Operations of one sequence."""
VARIANTS = {
    "delta": Variant(),
    "state of the world": Variant(delta=False),
    "agent": Variant(agent=True),
}


class Worlds:
    """A running system for many sequences, and a new one after each failure; used with `with`."""

    def __init__(self, variant: Variant) -> None:
        self.asked = 0
        self.steps = 0
        self._variant = variant
        self._world: ChangeWorld | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def play(self, sequence: list[Operation]) -> None:
        """Play one sequence.

        Raises:
            Wrong: with all steps since the system's start.
        """
        try:
            if self._world is None:
                self._directory = tempfile.TemporaryDirectory(prefix="cellway-changes-")
                world = ChangeWorld(Path(self._directory.name), self._variant)
                self._world = world.__enter__()
            self._world.play(sequence)
        except BaseException as error:
            # Hypothesis shows the shortest sequence; if that one is flaky, the original matters.
            print(f"\n{error}\n", flush=True)
            self.close()
            raise

    def close(self) -> None:
        """Stop the system."""
        world, directory = self._world, self._directory
        self._world = self._directory = None
        if world is not None:
            self.asked += world.asked
            self.steps += len(world.done)
            world.__exit__(None, None, None)
        if directory is not None:
            directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def play_many(
    variant: Variant,
    *,
    examples: int,
    derandomize: bool,
    before: Iterable[list[Operation]] = (),
) -> str:
    """Play random sequences against one variant; return how much was done, in words."""
    begun = time.monotonic()
    with Worlds(variant) as worlds:

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=derandomize,
            database=None,
            suppress_health_check=list(Check),
            phases=(Phase.generate, Phase.shrink),
        )
        @given(operations(restarts=variant.restarts, most=MOST))
        def run(sequence: list[Operation]) -> None:
            worlds.play(sequence)

        for sequence in before:
            worlds.play(sequence)
        run()
    seconds = time.monotonic() - begun
    return f"{variant}: {worlds.steps} changes, {worlds.asked} requests, {seconds:.0f} s"
