"""Compares several Envoys under one load, in rounds that alternate between them.

A noisy machine disturbs all alike, and each round gives a ratio of its own. Two ratios are taken:
of requests per second, and of the processor time that an Envoy takes for one request, which other
work on the machine disturbs less. The baseline is measured before and after each other Envoy.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench.load import Load, count
from bench.process import processor_seconds
from bench.results import Figure


@dataclass(frozen=True, slots=True)
class Target:
    """An Envoy under load."""

    port: int
    pid: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What one target did in one round."""

    per_second: float
    cpu_s: float
    """Of the Envoy, for one request that was answered well."""
    failed: float
    """The share of requests that got another answer than 2xx, or none."""


@dataclass(frozen=True, slots=True)
class Ratios:
    """How a target stands to another one, round by round; higher is better."""

    speed: Sequence[float]
    cpu: Sequence[float]
    failed: float
    """The largest share of failed requests in a round."""

    def figures(self, name: str, baseline: str) -> dict[str, Figure]:
        """Return the medians and the quartiles of both, and failures if there were any."""
        runs = len(self.speed)
        figures: dict[str, Figure] = {}
        for suffix, values in (("", self.speed), ("_cpu", self.cpu)):
            low, middle, high = _quartiles(values)
            for part, value in (("", middle), ("_q1", low), ("_q3", high)):
                figures[f"{name}{suffix}{part}"] = Figure(value, "ratio", "higher", baseline, runs)
        if self.failed:
            figures[f"{name}_failed"] = Figure(self.failed, "share", "lower", "", runs)
        return figures


async def rounds(
    targets: Mapping[str, Target], load: Callable[[int], Load], number: int, seconds: float
) -> Sequence[Mapping[str, Measured]]:
    """Send a load to each target in turn, and to the first one once more at the end of a round.

    Args:
        targets: By name; the first is the baseline.
        load: Returns the load of a round, counted from 0; its port is replaced.
        number: How many rounds.
        seconds: How long each target is under load in a round.
    """
    first = next(iter(targets))
    measured: list[Mapping[str, Measured]] = []
    for at in range(number):
        one = {name: await _measure(target, load(at), seconds) for name, target in targets.items()}
        again = await _measure(targets[first], load(at), seconds)
        one[first] = _mean(one[first], again)
        measured.append(one)
    return measured


def ratios(measured: Sequence[Mapping[str, Measured]], name: str, baseline: str) -> Ratios:
    """Return how a target stands to a baseline."""
    pairs = [(one[name], one[baseline]) for one in measured]
    return Ratios(
        [ours.per_second / base.per_second for ours, base in pairs],
        [base.cpu_s / ours.cpu_s for ours, base in pairs],
        max(ours.failed for ours, _ in pairs),
    )


async def _measure(target: Target, load: Load, seconds: float) -> Measured:
    before = processor_seconds(target.pid)
    counts = await asyncio.to_thread(count, replace(load, port=target.port), seconds)
    cpu = processor_seconds(target.pid) - before
    failed = counts.bad / (counts.good + counts.bad)
    return Measured(counts.good / counts.seconds, max(cpu, 1e-9) / counts.good, failed)


def _mean(one: Measured, other: Measured) -> Measured:
    return Measured(
        statistics.mean((one.per_second, other.per_second)),
        statistics.mean((one.cpu_s, other.cpu_s)),
        max(one.failed, other.failed),
    )


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
