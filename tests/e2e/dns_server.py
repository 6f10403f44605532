"""A DNS server on loopback whose records and delays a test changes while it runs."""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading
from collections import Counter
from typing import Self

A, AAAA = 1, 28
_CLASS_IN = 1
_NXDOMAIN = 3
_TTL_S = 1


class DnsServer:
    """Answers A and AAAA questions over UDP; used with `with`.

    Names without records get NXDOMAIN. Names in `silent` get no answer (with a type: no answer to
    questions for that type), and those in `slow` get theirs after so many seconds.
    """

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, ...]] = {}
        self.silent: set[str | tuple[str, int]] = set()
        self.slow: dict[str, float] = {}
        self.asked: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        # An empty datagram ends the wait.
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            question, client = self._socket.recvfrom(4096)
            if self._stopped.is_set():
                return
            name, kind, end = _read(question)
            self.asked[name] += 1
            if name in self.silent or (name, kind) in self.silent:
                continue
            delay = self.slow.get(name, 0)
            if delay:
                timer = threading.Timer(delay, self._answer, (question, name, kind, end, client))
                timer.daemon = True
                timer.start()
            else:
                self._answer(question, name, kind, end, client)

    def _answer(
        self, question: bytes, name: str, kind: int, end: int, client: tuple[str, int]
    ) -> None:
        if self._stopped.is_set():
            return
        records = self.records.get(name)
        addresses = [ipaddress.ip_address(text) for text in records or ()]
        wanted = [one for one in addresses if (one.version == 4) == (kind == A)]
        wanted = wanted if kind in {A, AAAA} else []
        flags = 0x8180 | (_NXDOMAIN if records is None else 0)
        answer = question[:2] + struct.pack(">HHHHH", flags, 1, len(wanted), 0, 0)
        answer += question[12:end]
        for one in wanted:
            answer += struct.pack(">HHHIH", 0xC00C, kind, _CLASS_IN, _TTL_S, len(one.packed))
            answer += one.packed
        self._socket.sendto(answer, client)


def _read(question: bytes) -> tuple[str, int, int]:
    """Return the name (in lower case), the type, and where the question ends."""
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    (kind,) = struct.unpack(">H", question[at + 1 : at + 3])
    return ".".join(labels).lower(), kind, at + 5
