"""The module's hash is SipHash-1-3: Python hashes bytes by it, under a key that its seed tells."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from control_plane.edge_module.library import load

TEXTS = [bytes(range(length)) for length in range(40)] + [b"path\0acme", b"x" * 1000]
PRINT_HASHES = "import sys; print([hash(bytes.fromhex(text)) for text in sys.argv[1:]])"


class Key(ctypes.Structure):
    _fields_ = [("k0", ctypes.c_uint64), ("k1", ctypes.c_uint64)]


def key_of_seed(seed: int) -> bytes:
    """Return the key that CPython makes of PYTHONHASHSEED (`lcg_urandom` in its sources)."""
    made, state = bytearray(), seed
    for _ in range(16):
        state = (state * 214013 + 2531011) & 0xFFFFFFFF
        made.append(state >> 16 & 0xFF)
    return bytes(made) if seed else bytes(16)


def hashes_of_python(seed: int) -> list[int]:
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    command = [sys.executable, "-S", "-c", PRINT_HASHES, *(text.hex() for text in TEXTS)]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [int(word) for word in shown.stdout.strip(" []\n").split(", ")]


@pytest.mark.parametrize("seed", [0, 1, 4_294_967_295])
def test_a_text_is_hashed_as_python_hashes_it(seed: int) -> None:
    library = load()
    library.cw_siphash13.restype = ctypes.c_uint64
    library.cw_siphash13.argtypes = [Key, ctypes.c_char_p, ctypes.c_size_t]
    raw = key_of_seed(seed)
    key = Key(*(int.from_bytes(raw[start : start + 8], "little") for start in (0, 8)))
    theirs = hashes_of_python(seed)
    assert [theirs[0]] == [0]  # Python gives an empty text no hash
    for text, expected in zip(TEXTS[1:], theirs[1:], strict=True):
        ours = library.cw_siphash13(key, text, len(text))
        assert ctypes.c_int64(ours).value == expected or expected == -2
