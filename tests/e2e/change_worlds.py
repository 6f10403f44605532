"""Random sequences of changes against one variant of the system, shrunk where one goes wrong."""

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
    """One running system for many sequences; a new one after each that fails. Used with `with`."""

    def __init__(self, variant: Variant) -> None:
        self.asked = 0
        self.steps = 0
        self._variant = variant
        self._world: ChangeWorld | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def play(self, sequence: list[Operation]) -> None:
        """Raises `Wrong` with all that was done since the system's start."""
        if self._world is None:
            self._directory = tempfile.TemporaryDirectory(prefix="cellway-changes-")
            self._world = ChangeWorld(Path(self._directory.name), self._variant).__enter__()
        try:
            self._world.play(sequence)
        except BaseException as error:
            # Hypothesis shows the shortest; what it came from may matter where that is flaky.
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
    """Random sequences against one variant, shrunk where one fails; how much was done."""
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
