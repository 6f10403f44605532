"""Prints figures, and keeps the newest of each in ``bench/results/latest.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

LATEST = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure. ``baseline`` says what it is compared with, if it is a ratio."""

    value: float
    unit: str
    better: Literal["higher", "lower"]
    baseline: str
    runs: int


def p99(values: Sequence[float]) -> float:
    """Return the value below which 99 of 100 are; the highest one if there are fewer than 100."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]


def report(figures: dict[str, Figure]) -> None:
    """Print figures and merge them into the file of the newest results."""
    for name, figure in figures.items():
        against = f" (÷ {figure.baseline})" if figure.unit == "ratio" else ""
        print(f"{name}: {figure.value:.3f} {figure.unit}{against}, {figure.runs} runs")
    LATEST.parent.mkdir(exist_ok=True)
    latest = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    latest |= {name: asdict(figure) for name, figure in figures.items()}
    # A benchmark that is ended in the midst of this leaves the older figures.
    new = LATEST.with_suffix(".new")
    new.write_text(json.dumps(latest, indent=2, sort_keys=True) + "\n")
    new.replace(LATEST)
