"""A differential test of change: what the fleet is said to run is what the real Envoy runs.

Hypothesis makes sequences of changes; after each that is done, Envoy's own dump is held against
the compiled snapshot and each answer against the evaluator. `make soak` and CELLWAY_LONG=1 run many.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck as Check
from hypothesis import Phase, given, settings

from tests.e2e.change_operations import Operation, operations
from tests.e2e.change_world import ChangeWorld, Variant

LONG = bool(os.environ.get("CELLWAY_LONG"))
EXAMPLES = int(os.environ.get("CELLWAY_CHANGES", "200" if LONG else "6"))


class Worlds:
    """One running system for many sequences; a new one after each that fails."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant
        self._world: ChangeWorld | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self.asked = 0
        self.steps = 0

    def play(self, sequence: list[Operation]) -> None:
        """Raises `Wrong` with all that was done since the system's start."""
        if self._world is None:
            self._directory = tempfile.TemporaryDirectory(prefix="cellway-changes-")
            self._world = ChangeWorld(Path(self._directory.name), self._variant).__enter__()
        try:
            self._world.play(sequence)
        except BaseException as error:
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


def play_many(variant: Variant, *, examples: int, most: int, derandomize: bool) -> None:
    """Random sequences against one variant, shrunk where they fail."""
    worlds = Worlds(variant)

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        database=None,
        suppress_health_check=list(Check),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(operations(restarts=variant.restarts, most=most))
    def run(sequence: list[Operation]) -> None:
        worlds.play(sequence)

    begun = time.monotonic()
    try:
        run()
    finally:
        worlds.close()
        seconds = time.monotonic() - begun
        print(f"{variant}: {worlds.steps} steps, {worlds.asked} requests, {seconds:.0f} s")


VARIANTS = {
    "delta": Variant(),
    "state of the world": Variant(delta=False),
    "agent": Variant(agent=True),
}


@pytest.mark.slow
@pytest.mark.timeout(4000)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_what_is_done_is_what_runs(variant: Variant) -> None:
    play_many(variant, examples=EXAMPLES, most=8, derandomize=not LONG)
