"""Steady load on an edge: nothing is retried, and every answer is counted."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from tests.support.conditions import holds_within
from tests.support.raw_http import RawConnection, RawHttpError, request_bytes

LOST = 0
"""The status of a request that was not answered."""
OK = 200
PROGRESS_S = 60.0
PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Answer:
    """One kind of answer: what was asked (its name), the status, and the cell that served.

    The cell is the one that the edge names, or with another ``cell_header`` the one that names
    itself.
    """

    asked: str
    status: int
    cell: str


class Load:
    """Threads that ask in turn for each of the named requests, used with `with`.

    Each thread has one kept-alive connection; a connection is replaced only when the edge has
    said `Connection: close`, so an answer that does not come is counted as `LOST`. A request may be
    a function that returns a new one each time.
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
        self._answered = [0] * threads
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(threads)
        ]

    def seen(self) -> Counter[Answer]:
        """Return how often each kind of answer came so far."""
        with self._lock:
            return self._answers.copy()

    def take(self) -> Counter[Answer]:
        """Return the answers since the last `take`."""
        with self._lock:
            taken, self._answers = self._answers, Counter()
            self._tiers.clear()
            self._slowest_s.clear()
        return taken

    def take_earlier(self) -> Counter[Answer]:
        """Wait until no request of before this call is under way; return the answers until then.

        What is answered from now on has been asked after this call. Each thread answers twice: a
        request that was under way, and one that an Envoy worker may have met when the main thread
        of Envoy had acknowledged a change and the worker had not taken it up.
        """
        before = self._answered.copy()
        self._wait(
            lambda: all(now >= then + 2 for now, then in zip(self._answered, before, strict=True))
        )
        return self.take()

    def tiers(self) -> Counter[tuple[str, str]]:
        """Return how often each tier has answered each request with 200 since the last `take`."""
        with self._lock:
            return self._tiers.copy()

    def slowest_s(self, asked: str) -> float:
        """Return how long the slowest answer to this took since the last `take`."""
        with self._lock:
            return self._slowest_s.get(asked, 0.0)

    def go_on(self, more: int) -> None:
        """Wait until so many more answers have come."""
        goal = self.seen().total() + more
        self._wait(lambda: self.seen().total() >= goal)

    def _wait(self, condition: Callable[[], bool]) -> None:
        assert holds_within(condition, PROGRESS_S), f"the load stands still at {self.seen()}"

    def _count(self, answer: Answer, took_s: float = 0.0, tier: str = "") -> None:
        with self._lock:
            self._answers[answer] += 1
            self._slowest_s[answer.asked] = max(self._slowest_s.get(answer.asked, 0.0), took_s)
            if answer.status == OK:
                self._tiers[answer.asked, tier] += 1

    def _run(self, number: int) -> None:
        connection: RawConnection | None = None
        for name in itertools.cycle(self._requests):
            if self._stop.is_set():
                break
            connection = self._ask(name, connection)
            self._answered[number] += 1
            time.sleep(PAUSE_S)
        if connection is not None:
            connection.close()

    def _ask(self, name: str, connection: RawConnection | None) -> RawConnection | None:
        """Make one request and count its answer; return the connection if it stays open."""
        try:
            connection = connection or RawConnection(self._address)
        except OSError:
            self._count(Answer(name, LOST, ""))
            return None
        wanted = self._requests[name]
        request = wanted if isinstance(wanted, bytes) else wanted()
        started = time.monotonic()
        try:
            response = connection.exchange(request)
        except (OSError, RawHttpError):
            response = None
        took_s = time.monotonic() - started
        if response is None:
            self._count(Answer(name, LOST, ""), took_s)
        else:
            cell = (response.header(self._cell_header) or b"").decode()
            tier = (response.header("x-cellway-tier") or b"").decode()
            self._count(Answer(name, response.status, cell), took_s, tier)
        if response is None or response.closes:
            connection.close()
            return None
        return connection

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def get(path: bytes, cookie: bytes = b"") -> bytes:
    """Return a GET as GitLab's users make it."""
    headers = [("Cookie", cookie)] if cookie else []
    return request_bytes(path, headers, host=b"gitlab.example.com")
