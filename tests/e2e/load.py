"""Steady load on an edge that forgives nothing: no retry, and every answer is counted."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.raw_http import RawConnection, RawHttpError, request_bytes

LOST = 0
"""The status of a request that was not answered."""
OK = 200
PROGRESS_S = 30.0
PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Answer:
    """One kind of answer: what was asked (its name), the status, and who served.

    That is whom the edge names, or with another ``cell_header`` whoever says so itself.
    """

    asked: str
    status: int
    cell: str


class Load:
    """Threads that ask in turn for each of the named requests, used with `with`.

    Each thread has one kept-alive connection; a connection is replaced only when the edge has
    said `Connection: close`, so an answer that does not come is counted as `LOST`. A request may be
    a function that makes a new one each time.
    """

    def __init__(
        self,
        port: int,
        requests: Mapping[str, bytes | Callable[[], bytes]],
        *,
        threads: int = 3,
        cell_header: str = "x-cellway-cell",
    ) -> None:
        self._address = ("127.0.0.1", port)
        self._requests = requests
        self._cell_header = cell_header
        self._lock = threading.Lock()
        self._answers: Counter[Answer] = Counter()
        self._tiers: Counter[tuple[str, str]] = Counter()
        self._slowest_s: dict[str, float] = {}
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
            self._tiers.clear()
            self._slowest_s.clear()
        return taken

    def tiers(self) -> Counter[tuple[str, str]]:
        """How often each kind of request was answered 200 by each tier, since the last `take`."""
        with self._lock:
            return self._tiers.copy()

    def slowest_s(self, asked: str) -> float:
        """How long the slowest answer to this took since the last `take`."""
        with self._lock:
            return self._slowest_s.get(asked, 0.0)

    def go_on(self, more: int) -> None:
        """Wait until so many more answers have come."""
        goal, end = self.seen().total() + more, time.monotonic() + PROGRESS_S
        while self.seen().total() < goal:
            assert time.monotonic() < end, f"the load stands still at {self.seen()}"
            time.sleep(0.005)

    def _count(self, answer: Answer, took_s: float = 0.0, tier: str = "") -> None:
        with self._lock:
            self._answers[answer] += 1
            self._slowest_s[answer.asked] = max(self._slowest_s.get(answer.asked, 0.0), took_s)
            if answer.status == OK:
                self._tiers[answer.asked, tier] += 1

    def _run(self) -> None:
        connection: RawConnection | None = None
        for name in itertools.cycle(self._requests):
            if self._stop.is_set():
                break
            try:
                connection = connection or RawConnection(self._address)
            except OSError:
                self._count(Answer(name, LOST, ""))
                time.sleep(PAUSE_S)
                continue
            wanted = self._requests[name]
            request = wanted if isinstance(wanted, bytes) else wanted()
            started = time.monotonic()
            try:
                response = connection.exchange(request)
            except (OSError, RawHttpError):
                response = None
            cell = response.header(self._cell_header) if response is not None else None
            answer = Answer(
                name, LOST if response is None else response.status, (cell or b"").decode()
            )
            tier = response.header("x-cellway-tier") if response is not None else None
            self._count(answer, time.monotonic() - started, (tier or b"").decode())
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
