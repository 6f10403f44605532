"""What the edge does to a client's request before any rule sees it: refuse, clean, normalise.

A model of our Envoy listener (normalize_path, merge_slashes, escaped slashes kept, underscores in
header names rejected, internal headers stripped), for the tools that see raw requests: explain,
simulate and the mitmproxy addon. A differential test holds it against the real Envoy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from control_plane.routing.model import Request

INTERNAL_PREFIX = "x-cellway-"
MAX_HEADER_BYTES = 60 * 1024
"""The edge's max_request_headers_kb: names and values together."""
_STRIPPED = frozenset({"x-envoy-auth-failure-mode-allowed"})
_UNRESERVED = frozenset(b"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_ENCODED = frozenset(b'"<>^`{|}')
"""What Envoy's path canonicaliser (Chromium's) percent-encodes where it stands raw."""
_BAD_IN_AUTHORITY = frozenset((*range(0x21), *b'"#/<>?\\^`{|}', *range(0x7F, 0x100)))
_BAD_IN_VALUE = frozenset((*range(9), *range(10, 32), 127))
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+\Z")
_ABSOLUTE = re.compile(rb"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<rest>.*)", re.S)


@dataclass(frozen=True, slots=True)
class Refused:
    """The edge answers by itself."""

    status: int
    reason: str


def admit(
    method: str, target: bytes, authority: bytes, headers: Iterable[tuple[str, bytes]]
) -> Request | Refused:
    """The request as the rules see it, or the edge's refusal.

    ``target`` is the request line's (origin or absolute form). ``headers`` are the client's,
    without pseudo headers; a ``host`` header is ignored in favour of ``authority``.
    """
    if any(byte < 0x21 or byte > 0x7E for byte in target) or b"#" in target:
        return Refused(400, "the target has a byte that no URL has, or a fragment")
    split = _split(method, target, authority)
    if isinstance(split, Refused):
        return split
    authority, target = split
    if _BAD_IN_AUTHORITY & set(authority):
        return Refused(400, "the authority has a byte that no host has")
    kept = _clean(headers)
    if isinstance(kept, Refused):
        return kept
    size = len(target) + len(authority) + sum(len(name) + len(value) for name, value in kept)
    if size > MAX_HEADER_BYTES:
        return Refused(431, f"the headers are larger than {MAX_HEADER_BYTES} bytes")
    path, mark, query = target.partition(b"?")
    normal = normalise_path(path)
    if normal is None:
        return Refused(400, "the path has %00")
    return Request(method, authority, normal + mark + query, kept)


def _split(method: str, target: bytes, authority: bytes) -> tuple[bytes, bytes] | Refused:
    """Authority and path of a request target; an absolute form's authority wins (RFC 9112)."""
    if target.startswith(b"/") and method != "CONNECT":
        return authority, target
    if target == b"*" and method == "OPTIONS":
        return Refused(404, "no rule is for the whole server")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or method == "CONNECT" or not absolute["authority"]:
        return Refused(400, "the target is neither a path nor an absolute URL")
    scheme = absolute["scheme"].lower()
    if scheme != b"http":
        return Refused(403 if scheme == b"https" else 400, "the scheme is not the connection's")
    rest = absolute["rest"] or b"/"
    if not rest.startswith(b"/"):
        return Refused(404, "the URL has no path")
    return absolute["authority"], rest


def _clean(headers: Iterable[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...] | Refused:
    kept: list[tuple[str, bytes]] = []
    for name, value in headers:
        lower = name.lower()
        if not _NAME.match(lower):
            return Refused(400, f"{lower!r} is no header name, or has an underscore")
        if _BAD_IN_VALUE & set(value):
            return Refused(400, f"header {lower!r} has a control character")
        if lower == "host" or lower.startswith(INTERNAL_PREFIX) or lower in _STRIPPED:
            continue
        kept.append((lower, value.strip(b" \t")))
    return tuple(kept)


def normalise_path(path: bytes) -> bytes | None:
    """RFC 3986 section 6 normalisation as Envoy does it, then slashes merged.

    None where Envoy refuses the path. ``path`` starts with a slash and holds visible ASCII only.
    """
    if b"%00" in path:
        return None
    segments = path.replace(b"\\", b"/")[1:].split(b"/")
    out: list[bytes] = []
    for index, segment in enumerate(segments):
        dots = _dots(segment)
        if not dots:
            out.append(_encode(segment))
            continue
        if dots == 2 and out:
            out.pop()
        if index == len(segments) - 1:
            out.append(b"")
    return re.sub(rb"/+", b"/", b"/" + b"/".join(out))


def _dots(segment: bytes) -> int:
    """1 for ``.``, 2 for ``..``, else 0. Parameters after literal dots don't save a segment."""
    plain = segment.partition(b";")[0]
    if plain not in {b".", b".."}:
        plain = re.sub(rb"%2[eE]", b".", segment)
    return len(plain) if plain in {b".", b".."} else 0


def _encode(segment: bytes) -> bytes:
    if b"%" in segment:
        segment = re.sub(rb"%[0-9A-Fa-f]{2}", _decode_unreserved, segment)
    if _ENCODED & set(segment):
        segment = b"".join(b"%%%02X" % b if b in _ENCODED else bytes((b,)) for b in segment)
    return segment


def _decode_unreserved(found: re.Match[bytes]) -> bytes:
    byte = int(found[0][1:], 16)
    return bytes((byte,)) if byte in _UNRESERVED else found[0]
