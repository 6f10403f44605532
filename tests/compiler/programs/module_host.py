"""The module's C without Envoy, by ctypes: programs decide many requests in one call."""

from __future__ import annotations

import ctypes
import hashlib
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from control_plane.edge_module.compilers import Kind, compiler

MODULE = Path(__file__).parents[3] / "envoy" / "module"
HOST = Path(__file__).with_name("batch_host.c")
SOURCES = (
    "automaton",
    "cell_table",
    "crc32",
    "decode",
    "json",
    "normalise",
    "program",
    "program_load",
    "subjects",
)

OWNED, UNKNOWN, ASK = 1, 2, 3
_RESULT = struct.Struct("<32sBBHH")

type Headers = Sequence[tuple[bytes, bytes]]
type Key = tuple[str, str]


class Decided(NamedTuple):
    """What a program said of one request."""

    answer: str
    """Empty: nothing."""
    rule: int
    why: int


def compiled(source: Path, flags: Sequence[str], command: Sequence[str] = ()) -> Path:
    """Compile the module with a source of ours, once for each state of them; return the file."""
    strict = ("-std=c11", "-Wall", "-Wextra", "-Werror")
    command = [*(command or compiler(Kind())), *strict, *flags, f"-I{MODULE}"]
    digest = hashlib.sha256(" ".join(command).encode())
    for path in sorted((*MODULE.glob("*.[ch]"), source)):
        digest.update(path.read_bytes())
    made = Path(tempfile.gettempdir()) / f"cellway-{source.stem}-{digest.hexdigest()[:16]}"
    if not made.exists():
        sources = [str(source), *(str(MODULE / f"{name}.c") for name in SOURCES)]
        with tempfile.TemporaryDirectory(dir=made.parent) as folder:
            new = Path(folder) / made.name
            subprocess.run([*command, "-o", str(new), *sources], check=True)
            new.replace(made)
    return made


@cache
def library() -> ctypes.CDLL:
    """Load the module with its host."""
    made = compiled(HOST, ("-O2", "-fPIC", "-shared"))
    loaded = ctypes.CDLL(str(made))
    loaded.cw_program_load.restype = ctypes.c_void_p
    loaded.cw_program_load.argtypes = (
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t,
    )  # fmt: skip
    loaded.cw_program_free.argtypes = (ctypes.c_void_p,)
    loaded.host_owners.restype = ctypes.c_void_p
    loaded.host_owners.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32)
    loaded.host_owners_free.argtypes = (ctypes.c_void_p,)
    loaded.host_decide.argtypes = (
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_char_p,
    )  # fmt: skip
    return loaded


class BadProgram(ValueError):
    """The module refuses a program."""


class Owners:
    """A table of owners, as the module asks it."""

    def __init__(self, entries: Mapping[Key, tuple[int, int]]) -> None:
        """Make a table of normalised keys, each with OWNED or ASK and a cell's id."""
        parts = []
        for (bucket, value), (kind, cell) in entries.items():
            one, other = bucket.encode(), value.encode()
            parts.append(struct.pack("<BIH", kind, cell, len(one)) + one)
            parts.append(struct.pack("<H", len(other)) + other)
        code = b"".join(parts)
        self.handle = library().host_owners(code, len(code), len(entries))

    def __del__(self) -> None:
        library().host_owners_free(self.handle)


class LoadedProgram:
    """A program in the module."""

    def __init__(self, code: bytes) -> None:
        error = ctypes.create_string_buffer(200)
        self.handle = library().cw_program_load(code, len(code), error, len(error))
        if self.handle is None:
            raise BadProgram(error.value.decode())

    def __del__(self) -> None:
        library().cw_program_free(self.handle)

    def decide(self, requests: Iterable[Headers], owners: Owners) -> list[Decided]:
        """Decide requests, each given by its headers, ``:path`` and such among them."""
        packed = [pack(headers) for headers in requests]
        results = self.decide_packed(b"".join(packed), len(packed), owners)
        return [
            Decided(one[0][: one[1]].decode(), one[3], one[4])
            for one in _RESULT.iter_unpack(results)
        ]

    def decide_packed(self, requests: bytes, count: int, owners: Owners) -> bytes:
        """Decide packed requests; return the packed results."""
        results = ctypes.create_string_buffer(_RESULT.size * count)
        library().host_decide(self.handle, owners.handle, requests, count, results)
        return results.raw


_LENGTHS = struct.Struct("<HH").pack


def pack(headers: Headers) -> bytes:
    """Return a request as the host reads it."""
    fields = [_LENGTHS(len(name), len(value)) + name + value for name, value in headers]
    return len(headers).to_bytes(2, "little") + b"".join(fields)
