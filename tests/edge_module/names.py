"""Names, their hashes, and a program that looks them up: tenants of the ruleset `generic`."""

from __future__ import annotations

import ctypes
from functools import cache

from control_plane.compiler.programs import Program, RulesetProgram
from control_plane.edge_module.library import load
from control_plane.routing.rules.parse import parse
from control_plane.shipped import RULESETS
from tests.support.cells import FakeCell, cells

KEY = bytes(range(16))
OTHER_KEY = bytes(range(1, 17))
BUCKET = "tenant"


class _Key(ctypes.Structure):
    _fields_ = [("k0", ctypes.c_uint64), ("k1", ctypes.c_uint64)]


def hashed(text: bytes, key: bytes = KEY) -> int:
    function = load().cw_siphash13
    function.restype = ctypes.c_uint64
    function.argtypes = [_Key, ctypes.c_char_p, ctypes.c_size_t]
    halves = _Key(*(int.from_bytes(key[start : start + 8], "little") for start in (0, 8)))
    return int(function(halves, text, len(text)))


def name_hash(value: str, bucket: str = BUCKET, key: bytes = KEY) -> int:
    return hashed(f"{bucket}\0{value}".encode(), key)


def key_id(key: bytes = KEY) -> int:
    return hashed(b"cellway key id", key)


@cache
def program() -> Program:
    """Return a program that knows the cells 7 and 8, and answers 404 for a tenant of nobody."""
    ruleset = parse((RULESETS / "generic.json").read_text())
    return RulesetProgram.of(ruleset).program(cells(FakeCell(7), FakeCell(8)))
