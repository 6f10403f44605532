"""Clients that keep their connections while things change: HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

from tests.e2e.change_rules import PROBES, Probe
from tests.e2e.named_backends import BACKEND_HEADER, SENT_FOR_HEADER
from tests.support.raw_http import RawConnection, RawHttpError, RawResponse, request_bytes
from tests.support.raw_http2 import Http2Refusal, RawHttp2Connection

NO_ANSWER = 0
"""The status of a request whose connection ended first, or that got no answer in time."""
GOING_AWAY = -1
"""The status of a request that met a GOAWAY without an error: a client repeats it elsewhere."""
PAUSE_S = 0.002
TIMEOUT_S = 15.0
MAX_REASON = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, the backend that gave it, and the cell for which the edge sent it there."""

    status: int
    cell: str = ""
    backend: str = ""
    tier: str = ""
    reason: str = ""
    """The beginning of the body, where there is one."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request: its times, its connection and its answer."""

    probe: Probe
    begun: float
    ended: float
    connection: str
    answer: Answer


class Client(Protocol):
    """A connection of either version of HTTP."""

    name: str
    closed: bool

    def ask(self, probe: Probe) -> Answer:
        """Make one request."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Http1:
    """A kept-alive HTTP/1.1 connection."""

    def __init__(self, port: int, name: str) -> None:
        self.name = f"{name} h1"
        self.closed = False
        self._connection = RawConnection(("127.0.0.1", port), timeout_s=TIMEOUT_S)

    def ask(self, probe: Probe) -> Answer:
        headers = [(name, value.encode()) for name, value in probe.headers]
        data = request_bytes(probe.target.encode(), headers, host=probe.host.encode())
        response: RawResponse | None = None
        with contextlib.suppress(TimeoutError, RawHttpError, OSError):
            response = self._connection.exchange(data)
        if response is None or response.closes:
            self.close()
        return _answer(response)

    def close(self) -> None:
        self.closed = True
        self._connection.close()


class Http2:
    """An HTTP/2 connection with prior knowledge."""

    def __init__(self, port: int, name: str) -> None:
        self.name = f"{name} h2"
        self._connection = RawHttp2Connection(("127.0.0.1", port), timeout_s=TIMEOUT_S)
        self.closed = False

    def ask(self, probe: Probe) -> Answer:
        block = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":path", probe.target.encode()),
            (b":authority", probe.host.encode()),
        ]
        block += [(name.encode(), value.encode()) for name, value in probe.headers]
        response: RawResponse | Http2Refusal | None = None
        with contextlib.suppress(TimeoutError, OSError):
            response = self._connection.exchange(block)
        if isinstance(response, RawResponse) and not self._connection.ended:
            return _answer(response)
        self.close()
        if isinstance(response, Http2Refusal):
            away = response.connection_ended and response.error_code == 0
            return Answer(GOING_AWAY if away else NO_ANSWER)
        return _answer(response)

    def close(self) -> None:
        self.closed = True
        self._connection.close()


def _answer(response: RawResponse | None) -> Answer:
    if response is None:
        return Answer(NO_ANSWER)
    fields = {name: value.decode("latin-1") for name, value in response.headers}
    return Answer(
        response.status,
        fields.get(SENT_FOR_HEADER, ""),
        fields.get(BACKEND_HEADER, ""),
        fields.get("x-cellway-tier", ""),
        response.body[:MAX_REASON].decode("latin-1"),
    )


def ask(client: Client, probe: Probe) -> Record:
    """Make one request; return it with its times."""
    begun = time.monotonic()
    answer = client.ask(probe)
    return Record(probe, begun, time.monotonic(), client.name, answer)


class SteadyClients:
    """Asks each probe again and again from a thread of its own; used with `with`.

    A connection stays open until the edge closes it; `closed` counts how often it did.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._records: list[Record] = []
        self._clients: list[Client] = []
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.closed = 0
        self.error: BaseException | None = None

    def take(self) -> list[Record]:
        """Return the records since the last call."""
        with self._lock:
            taken, self._records = self._records, []
        return taken

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Close the connections and ask nothing: the edge is about to go down."""
        with self._asking:
            for client in self._clients:
                client.close()
            yield
            self._connect()

    def _connect(self) -> None:
        self._clients = [Http1(self._port, "steady"), Http2(self._port, "steady")]

    def _run(self) -> None:
        try:
            self._connect()
            while not self._stop.is_set():
                for index, probe in itertools.product(range(2), PROBES):
                    with self._asking:
                        self._ask(index, self._clients[index], probe)
                    self._stop.wait(PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self.error = error

    def _ask(self, index: int, client: Client, probe: Probe) -> None:
        record = ask(client, probe)
        with self._lock:
            self._records.append(record)
        if client.closed:
            self.closed += 1
            self._clients[index] = type(client)(self._port, "steady")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(TIMEOUT_S * 2)
        for client in self._clients:
            client.close()
