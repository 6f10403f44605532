"""Steady load on an edge that forgives nothing: no retry, and every answer is counted."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.e2e.raw_http import RawConnection, RawHttpError, request_bytes

LOST = 0
"""The status of a request that was not answered."""
PROGRESS_S = 30.0
PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Answer:
    """One kind of answer: what was asked (its name), the status, and who the edge says served."""

    asked: str
    status: int
    cell: str


class Load:
    """Threads that ask in turn for each of the named requests, used with `with`.

    Each thread has one kept-alive connection; a connection is replaced only when the edge has
    said `Connection: close`, so an answer that does not come is counted as `LOST`.
    """

    def __init__(self, port: int, requests: Mapping[str, bytes], *, threads: int = 3) -> None:
        self._address = ("127.0.0.1", port)
        self._requests = requests
        self._lock = threading.Lock()
        self._answers: Counter[Answer] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def seen(self) -> Counter[Answer]:
        """How often each kind of answer came so far."""
        with self._lock:
            return self._answers.copy()

    def take(self) -> Counter[Answer]:
        """The answers since the last `take`."""
        with self._lock:
            taken, self._answers = self._answers, Counter()
        return taken

    def go_on(self, more: int) -> None:
        """Wait until so many more answers have come."""
        goal, end = self.seen().total() + more, time.monotonic() + PROGRESS_S
        while self.seen().total() < goal:
            assert time.monotonic() < end, f"the load stands still at {self.seen()}"
            time.sleep(0.005)

    def _run(self) -> None:
        connection: RawConnection | None = None
        for name in itertools.cycle(self._requests):
            if self._stop.is_set():
                break
            connection = connection or RawConnection(self._address)
            try:
                response = connection.exchange(self._requests[name])
            except (OSError, RawHttpError):
                response = None
            cell = response.header("x-cellway-cell") if response is not None else None
            answer = Answer(
                name, LOST if response is None else response.status, (cell or b"").decode()
            )
            with self._lock:
                self._answers[answer] += 1
            if response is None or response.closes:
                connection.close()
                connection = None
            time.sleep(PAUSE_S)
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def get(path: bytes, cookie: bytes = b"") -> bytes:
    """A GET as GitLab's users make it."""
    headers = [("Cookie", cookie)] if cookie else []
    return request_bytes(path, headers, host=b"gitlab.example.com")
