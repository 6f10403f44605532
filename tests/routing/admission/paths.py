"""Paths that are hard to normalise."""

from __future__ import annotations

import re

from hypothesis import strategies as st

# Envoy resolves "..;x" only where it is spelt so: what an encoding or a backslash hides from it is
# forwarded, and a second Envoy would resolve it.
HIDDEN_DOT_SEGMENT = re.compile(rb"/\.\.?;")

PIECES = [
    *(b"/", b"//", b".", b"..", b"%2e", b"%2E", b"%", b"%2", b"%41", b"%2F", b"%5C", b"%25"),
    *(b"%34%31", b"\\", b";", b"a", b"1", b"e", b"|", b'"', b"?", b"\xc3", b"%c3%a9", b"~", b"#"),
]
paths = st.lists(st.sampled_from(PIECES), max_size=12).map(lambda pieces: b"/" + b"".join(pieces))
