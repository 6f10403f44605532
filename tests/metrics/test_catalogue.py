"""Every metric of the catalogue is shown, once."""

from __future__ import annotations

from collections import Counter

from control_plane.metrics.catalogue import MEANINGS
from control_plane.metrics.server import Metrics


def test_the_server_shows_all_metrics_of_the_catalogue_with_their_meanings() -> None:
    families = list(Metrics().registry.collect())
    # A counter's family has no "_total" at its end.
    meanings = {name.removesuffix("_total"): text for name, text in MEANINGS.items()}
    assert {family.name: family.documentation for family in families} == meanings
    assert max(Counter(family.name for family in families).values()) == 1
