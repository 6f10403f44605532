"""Opens the module's parts for Python: the sources that run inside Envoy, without its hooks.

Tests compare them with models in Python through this. Example:

    edge = EdgeMap(load(), key=bytes(16))
    edge.set_epochs("0;")
    edge.feed(bytes_of_the_stream, now_ms())
    edge.owner("path", "acme")      # (Owner.OWNED, 7)
"""

from __future__ import annotations

import ctypes
from ctypes import c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from functools import cache
from typing import Any, Self

from control_plane.edge_module.build import build
from control_plane.edge_module.compilers import Kind, Sanitizer
from control_plane.owners.frames import NOBODY as NOBODY

ASK_CELL = 0xFFFFFFFF
MESSAGE_MAX = 5 + 48 + 256
_ANSWER_BYTES = 32
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "cw_library_map_new": (c_void_p, []),
    "cw_library_map_free": (None, [c_void_p]),
    "cw_library_epochs": (c_bool, [c_void_p, c_char_p, c_size_t]),
    "cw_library_turn": (None, [c_void_p, c_bool]),
    "cw_library_owner": (
        c_int,
        [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, ctypes.POINTER(c_uint32)],
    ),
    "cw_library_asking": (None, [c_void_p, c_uint32]),
    "cw_library_answer": (
        c_size_t,
        [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_char_p],
    ),
    "cw_library_stream_new": (c_void_p, [c_void_p, c_char_p]),
    "cw_library_stream_free": (None, [c_void_p]),
    "cw_library_table": (None, [c_void_p, c_uint64 * 5]),
    "cw_stream_feed": (c_int, [c_void_p, c_char_p, c_size_t, c_uint64]),
    "cw_stream_end": (None, [c_void_p]),
    "cw_stream_follow": (c_size_t, [c_void_p, c_char_p, c_char_p]),
    "cw_stream_status": (c_size_t, [c_void_p, c_char_p, c_uint64, c_char_p]),
    "cw_library_table_new": (c_void_p, [c_uint64]),
    "cw_library_table_free": (None, [c_void_p]),
    "cw_library_table_get": (c_uint32, [c_void_p, c_uint64]),
    "cw_table_set": (c_bool, [c_void_p, c_uint64, c_uint32]),
    "cw_table_names": (c_uint64, [c_void_p]),
    "cw_table_bytes": (c_uint64, [c_void_p]),
    "cw_asking_set": (None, [c_uint64 * 2, c_uint32]),
    "cw_asking_take": (c_bool, [c_uint64 * 2, c_uint64, c_bool]),
    "cw_now_ms": (c_uint64, []),
    "cw_shard": (ctypes.c_uint, [c_char_p, c_size_t, c_char_p, c_size_t]),
}


class Owner(IntEnum):
    """What the map says of a name (`envoy/module/program.h`)."""

    OWNED = 1
    UNKNOWN = 2
    ASK = 3


class Odd(IntEnum):
    """What is wrong with a stream (`envoy/module/frames.h`)."""

    GOOD = 0
    COMPRESSED = 1
    LENGTH = 2
    CHECKSUM = 3
    KIND = 4
    KEY = 5
    ORDER = 6
    TABLE = 7
    REVISION = 8
    MEMORY = 9


@cache
def load(sanitizer: Sanitizer | None = None) -> ctypes.CDLL:
    """Return the library, built if it has to be; every function of `envoy/module/*.h` is in it.

    Raises:
        NoCompiler: there is no C compiler.
        BuildFailed: it refused the sources.
    """
    library = ctypes.CDLL(str(build(Kind(library=True, sanitizer=sanitizer))))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Owned:
    """Something that C made, and that `with` frees."""

    def close(self) -> None:
        """Free it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Table(_Owned):
    """A table of owners for itself, by the hashes of names."""

    def __init__(self, library: ctypes.CDLL, names: int = 0) -> None:
        self._library = library
        self._table = library.cw_library_table_new(names)
        if not self._table:
            raise MemoryError(f"a table for {names} names")

    def set(self, name_hash: int, cell: int) -> bool:
        """Give a name an owner; return False if there was no place for it."""
        return bool(self._library.cw_table_set(self._table, name_hash, cell))

    def get(self, name_hash: int) -> int:
        """Return a name's owner: a cell's id, `NOBODY` or `ASK_CELL`."""
        return int(self._library.cw_library_table_get(self._table, name_hash))

    def __len__(self) -> int:
        return int(self._library.cw_table_names(self._table))

    @property
    def size_bytes(self) -> int:
        """How much memory it takes."""
        return int(self._library.cw_table_bytes(self._table))

    def close(self) -> None:
        """Free it."""
        self._library.cw_library_table_free(self._table)


class EdgeMap(_Owned):
    """An edge map, and one reader of the owners' stream."""

    def __init__(self, library: ctypes.CDLL, key: bytes) -> None:
        self._library = library
        self._key = key
        self._map = library.cw_library_map_new()
        self._stream = library.cw_library_stream_new(self._map, key)
        library.cw_library_turn(self._map, True)

    def turn(self, on: bool) -> None:
        """Turn the map on or off."""
        self._library.cw_library_turn(self._map, on)

    def set_epochs(self, text: str) -> bool:
        """Take the text of the epochs; return False if it is malformed."""
        raw = text.encode()
        return bool(self._library.cw_library_epochs(self._map, raw, len(raw)))

    def reconnect(self, key: bytes | None = None) -> None:
        """End the connection, and begin another one."""
        self._library.cw_library_stream_free(self._stream)
        self._key = key or self._key
        self._stream = self._library.cw_library_stream_new(self._map, self._key)

    def feed(self, data: bytes, now_ms: int | None = None) -> Odd:
        """Take bytes of the stream, with gRPC's headers, that arrived now."""
        now = self.now_ms if now_ms is None else now_ms
        return Odd(self._library.cw_stream_feed(self._stream, data, len(data), now))

    def follow(self, node: str = "") -> bytes:
        """Return the first message to the server."""
        out = ctypes.create_string_buffer(MESSAGE_MAX)
        length = self._library.cw_stream_follow(self._stream, node.encode(), out)
        return out.raw[:length]

    def status(self, node: str = "") -> bytes:
        """Return a message that says how current the table is."""
        out = ctypes.create_string_buffer(MESSAGE_MAX)
        length = self._library.cw_stream_status(self._stream, node.encode(), self.now_ms, out)
        return out.raw[:length]

    def owner(self, bucket: str, value: str) -> tuple[Owner, int]:
        """Return what the map says of a claim, and the cell's id if it is owned."""
        raw_bucket, raw_value = bucket.encode(), value.encode()
        cell = c_uint32()
        answer = self._library.cw_library_owner(
            self._map, raw_bucket, len(raw_bucket), raw_value, len(raw_value), ctypes.byref(cell)
        )
        owner = Owner(answer)
        return owner, cell.value if owner is Owner.OWNED else NOBODY

    def set_asking(self, per_second: int) -> None:
        """Leave so many answers a second that rest on names of nobody to the classifier."""
        self._library.cw_library_asking(self._map, per_second)

    def answer(self, program: bytes, path: str) -> str:
        """Return a program's answer to a request that has only a path; "": there is none."""
        raw, out = path.encode(), ctypes.create_string_buffer(_ANSWER_BYTES)
        length = self._library.cw_library_answer(
            self._map, program, len(program), raw, len(raw), out
        )
        return out.raw[:length].decode()

    @property
    def now_ms(self) -> int:
        """The time of the clock that the map uses."""
        return int(self._library.cw_now_ms())

    def _facts(self) -> list[int]:
        facts = (c_uint64 * 5)()
        self._library.cw_library_table(self._map, facts)
        return list(facts)

    @property
    def lineage(self) -> int:
        """Which table answers; 0: none."""
        return self._facts()[0]

    @property
    def revision(self) -> int:
        """The table is complete up to this revision."""
        return self._facts()[1]

    @property
    def names(self) -> int:
        """How many names the table has."""
        return self._facts()[2]

    @property
    def builds(self) -> bool:
        """Whether another table is being built."""
        return bool(self._facts()[4])

    def close(self) -> None:
        """Free both."""
        self._library.cw_library_stream_free(self._stream)
        self._library.cw_library_map_free(self._map)
