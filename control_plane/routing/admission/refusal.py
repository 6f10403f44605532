"""The exception by which the steps of admission refuse a request, and its statuses."""

from __future__ import annotations

BAD_REQUEST = 400
FORBIDDEN = 403
NOT_FOUND = 404
HEADERS_TOO_LARGE = 431
NOT_IMPLEMENTED = 501


class EdgeRefusal(Exception):
    """The edge answers by itself with ``status``; ``reason`` says what it does not accept."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status
        self.reason = reason
