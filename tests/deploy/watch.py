"""Scrapes that a test makes as Prometheus would, and the alerts that fire over them.

A scrape is real. Only the time between two is shortened: each counts as half a minute later than
the one before, so that an alert which must hold for ten minutes takes twenty scrapes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.promql import History, Scrape, evaluate, fires, seconds
from tests.support.conditions import wait_until

STEP_S = 30.0
WINDOW_S = 3600.0
"""Longer than the longest range of an expression: what an alert still remembers."""
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(
        (Path(__file__).parents[2] / "deploy" / "prometheus-alerts.yaml").read_text()
    )["groups"]
    for rule in group["rules"]
}


_WATCHED = tuple(
    {name for one in ALERTS.values() for name in re.findall(r"cellway_\w+", one["expr"])}
)


def read(text: str) -> Scrape:
    """Return the samples of a scrape that some alert looks at: to parse all takes long."""
    text = "".join(line for line in text.splitlines(keepends=True) if line.startswith(_WATCHED))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Watch:
    """Scrapes a control plane or an agent as Prometheus would, and knows which alerts fire."""

    def __init__(self, metrics: Callable[[], str]) -> None:
        self._metrics = metrics
        self._scrapes: list[tuple[float, Scrape]] = []

    def scrape(self, after_s: float = STEP_S) -> None:
        """Scrape, as if it were so much later than the scrape before."""
        at = self._scrapes[-1][0] + after_s if self._scrapes else 0.0
        self._scrapes.append((at, read(self._metrics())))

    def holds(self, *alerts: str) -> bool:
        """Return whether one of these alerts' expressions holds now, as if this were a scrape."""
        before = self._scrapes[-1][0] if self._scrapes else 0.0
        history = History([*self._scrapes, (before + STEP_S, read(self._metrics()))])
        return any(evaluate(ALERTS[alert]["expr"], history) for alert in alerts)

    def is_calm(self) -> bool:
        """Return whether no alert's expression holds now."""
        return not self.holds(*ALERTS)

    def firing(self) -> set[str]:
        """Return all alerts that fire by now."""
        history = History(self._scrapes)
        return {
            name
            for name, one in ALERTS.items()
            if fires(one["expr"], one.get("for", "0s"), history)
        }

    def stay(self, alert: str, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Go on scraping for as long as the alert has to hold; the fault goes on meanwhile."""
        for _ in range(int(seconds(ALERTS[alert].get("for", "0s")) / STEP_S) + 1):
            meanwhile()
            self.scrape()

    def sees(self, alert: str, meanwhile: Callable[[], object] = lambda: None) -> set[str]:
        """Wait until the alert's expression holds; then return what fires after its time.

        Args:
            alert: The alert.
            meanwhile: Called before each scrape, where the fault shows only under traffic.
        """

        def held() -> bool:
            meanwhile()
            return self.holds(alert)

        wait_until(held)
        self.stay(alert, meanwhile)
        return self.firing()

    def ends(self, alert: str) -> None:
        """Wait until a gauge is good again, or scrape on until a counter's growth is forgotten."""
        if "[" not in ALERTS[alert]["expr"]:
            wait_until(lambda: not self.holds(alert))
            return
        for _ in range(int(WINDOW_S / STEP_S)):
            if not self.holds(alert):
                return
            self.scrape()
        raise AssertionError(f"{alert} still fires after an hour")
