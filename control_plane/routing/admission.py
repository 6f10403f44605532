"""What the edge does to a client's request before any rule sees it: refuse, clean, normalise.

A model of our Envoy listener (normalize_path, merge_slashes, escaped slashes kept, underscores in
header names rejected, internal headers stripped), for the tools that see raw requests: explain,
simulate and the mitmproxy addon. A differential test holds it against the real Envoy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from control_plane.routing.model import Request

INTERNAL_PREFIX = "x-cellway-"
_STRIPPED = frozenset({"x-envoy-auth-failure-mode-allowed"})
_HEX = frozenset(b"0123456789abcdefABCDEF")
# Bytes that Envoy's (Chromium's) path canonicaliser percent-encodes.
_ESCAPED = frozenset((*range(0x21), *b'"<>`{}', *range(0x7F, 0x100)))


@dataclass(frozen=True, slots=True)
class Refused:
    """The edge answers by itself."""

    status: int
    reason: str


def admit(
    method: str, target: bytes, authority: bytes, headers: Iterable[tuple[str, bytes]]
) -> Request | Refused:
    """The request as the rules see it, or the edge's refusal.

    ``headers`` are the client's, without pseudo headers; a ``host`` header is ignored in favour
    of ``authority``.
    """
    kept: list[tuple[str, bytes]] = []
    for name, value in headers:
        lower = name.lower()
        if "_" in lower:
            return Refused(400, f"header name {lower!r} has an underscore")
        if lower == "host" or lower.startswith(INTERNAL_PREFIX) or lower in _STRIPPED:
            continue
        kept.append((lower, value.strip(b" \t")))
    if b"#" in target:
        return Refused(400, "the path has a fragment")
    if not target.startswith(b"/"):
        return Refused(404 if target == b"*" else 400, "the target is no path")
    path, mark, query = target.partition(b"?")
    normal = normalise_path(path)
    if normal is None:
        return Refused(400, "the path can't be normalised")
    return Request(method, authority, normal + mark + query, tuple(kept))


def normalise_path(path: bytes) -> bytes | None:
    """RFC 3986 section 6 normalisation as Envoy does it, then slashes merged.

    None where Envoy refuses the path.
    """
    canonical = _canonical(path)
    if canonical is None:
        return None
    merged = bytearray()
    for byte in canonical:
        if byte == 0x2F and merged.endswith(b"/"):
            continue
        merged.append(byte)
    return bytes(merged)


def _canonical(path: bytes) -> bytes | None:
    """Resolve dot segments (``%2e`` too), turn backslashes into slashes, encode what must be."""
    out = bytearray()
    at = 0
    while at < len(path):
        byte = path[at]
        if byte in b"/\\":
            at += 1
            dots, length = _dot_segment(path, at)
            if dots:
                at += length
                if dots == 2:
                    del out[max(out.rfind(b"/"), 0) :]
                if at >= len(path):
                    out += b"/"
                continue
            out += b"/"
        elif byte == 0x25:
            if path[at + 1 : at + 3] in {b"00"}:
                return None
            out.append(byte)
            at += 1
        elif byte in _ESCAPED:
            out += b"%%%02X" % byte
            at += 1
        else:
            out.append(byte)
            at += 1
    return bytes(out) or b"/"


def _dot_segment(path: bytes, at: int) -> tuple[int, int]:
    """(1 or 2 dots, length) if a dot segment starts here and ends at a slash or the end."""
    dots = length = 0
    while dots < 3:
        if path[at + length : at + length + 1] == b".":
            length += 1
        elif path[at + length : at + length + 3].lower() == b"%2e":
            length += 3
        else:
            break
        dots += 1
    follows = path[at + length : at + length + 1]
    return (dots, length) if dots in {1, 2} and follows in {b"", b"/", b"\\"} else (0, 0)
