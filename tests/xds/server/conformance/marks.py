"""Resource types to run a conformance test with."""

from __future__ import annotations

import pytest

from control_plane.names import CDS, EDS, RTDS
from control_plane.xds.resource_types import FALSE_ACK_TYPES
from tests.xds.server.conformance.variants import TYPES, VARIANTS, WILDCARD_TYPES, Variant

NAMED = (CDS, EDS, RTDS)
"""A type with a full state and a wildcard, and two without."""
AGGREGATED = tuple(variant for variant in VARIANTS if variant.aggregated)
SINGLE = tuple(variant for variant in VARIANTS if not variant.aggregated)
DELTA = tuple(variant for variant in VARIANTS if variant.delta)
SOTW = tuple(variant for variant in VARIANTS if not variant.delta)


def short(type_url: str) -> str:
    return type_url.rpartition(".")[2]


def each(variants: tuple[Variant, ...]) -> pytest.MarkDecorator:
    """Run a test with each of these variants."""
    return pytest.mark.parametrize("variant", variants, ids=str)


of_each_variant = each(VARIANTS)
of_each_type = pytest.mark.parametrize("url", TYPES, ids=short)
of_bundled_types = pytest.mark.parametrize(
    "url", [url for url in TYPES if url not in FALSE_ACK_TYPES], ids=short
)
of_solitary_types = pytest.mark.parametrize("url", sorted(FALSE_ACK_TYPES), ids=short)
of_some_types = pytest.mark.parametrize("url", NAMED, ids=short)
of_wildcard_types = pytest.mark.parametrize("url", WILDCARD_TYPES, ids=short)
