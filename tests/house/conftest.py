"""Reading the whole repository is fast while nothing is collected."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.house.sources import nodes, parse


@pytest.fixture(autouse=True, scope="package")
def _no_collector() -> Iterator[None]:
    """Keep the garbage collector off: it would walk half a million nodes again and again.

    At the end the syntax trees are dropped. They hold no circles, so they are freed at once.
    """
    gc.disable()
    yield
    nodes.cache_clear()
    parse.cache_clear()
    gc.enable()
