"""Prints figures and keeps them in ``bench/results/latest.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

LATEST = Path(__file__).parent / "results" / "latest.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. ``baseline`` says what it is a ratio against, if it is one."""

    value: float
    unit: str
    better: Literal["higher", "lower"]
    baseline: str
    runs: int


def report(figures: dict[str, Figure]) -> None:
    """Print figures and merge them into the file of the newest results."""
    for name, figure in figures.items():
        against = f" (÷ {figure.baseline})" if figure.unit == "ratio" else ""
        print(f"{name}: {figure.value:.3f} {figure.unit}{against}, {figure.runs} runs")
    LATEST.parent.mkdir(exist_ok=True)
    known = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    known |= {name: asdict(figure) for name, figure in figures.items()}
    LATEST.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
