"""Lets one thread at a time author messages with envoy-data-plane's dataclasses.

Such a dataclass completes itself when it is first used: it takes its validator away and builds a
new one. A second thread that uses the class meanwhile fails with AttributeError. In `cellway up`,
one thread compiles the bootstrap while the publisher's may compile the first listener, so both are
guarded.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

_AUTHORING = threading.Lock()


def authored[**P, R](build: Callable[P, R]) -> Callable[P, R]:
    """Return a function that builds the same, in one thread at a time."""

    @functools.wraps(build)
    def alone(*args: P.args, **kwargs: P.kwargs) -> R:
        with _AUTHORING:
            return build(*args, **kwargs)

    return alone
