"""Reads what an endpoint answers to a probe, without any I/O and within bounds.

The endpoint may send whatever it likes. h11 takes microseconds for each header line and each chunk,
so the bounds keep the work for one answer, and for one piece of it, short.
"""

from __future__ import annotations

import h11

MAX_HEAD_BYTES = 60 << 10
"""Status line and headers, or a chunk's head: as much as Envoy takes."""
MAX_BYTES = 1 << 18
"""The whole answer. A health check says "yes" in less."""
MAX_PIECE_BYTES = 1 << 11
"""What `ProbeAnswer.feed` takes at once: h11 needs up to 5 ms for so many tiny chunks."""


class AnswerTooLarge(Exception):
    """An answer has more than `MAX_BYTES`."""


class ProbeAnswer:
    """The answer to one request, read piece by piece.

    It is complete with its last byte and not with its status, as for Envoy's health check.
    """

    def __init__(self, host: str, path: str) -> None:
        """Make the request; raise `h11.LocalProtocolError` if it can't be made of these."""
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        headers = [("host", host), ("user-agent", "cellway-health"), ("connection", "close")]
        head = self._connection.send(h11.Request(method="GET", target=path, headers=headers))
        self.request = (head or b"") + (self._connection.send(h11.EndOfMessage()) or b"")
        """What is to be sent."""
        self.status = 0
        """The final status; 0 if the endpoint has closed without an answer."""
        self._bytes = 0

    def feed(self, data: bytes) -> bool:
        """Read the next piece and return whether the answer is complete.

        Args:
            data: up to `MAX_PIECE_BYTES`; nothing when the endpoint has closed the connection.

        Raises:
            h11.ProtocolError: this is no HTTP.
            AnswerTooLarge: it is too much.
        """
        self._bytes += len(data)
        if self._bytes > MAX_BYTES:
            raise AnswerTooLarge(f"the answer has more than {MAX_BYTES} bytes")
        self._connection.receive_data(data)
        while (event := self._connection.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                self.status = event.status_code
            elif not isinstance(event, h11.InformationalResponse | h11.Data):
                return True
        return False
