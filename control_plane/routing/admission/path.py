"""Paths as Envoy's router and the cells get them: the edge's path normalisation, byte for byte.

Envoy (`normalize_path`, `merge_slashes`, escaped slashes kept) canonicalises the part before "?"
as a browser does, and leaves the query alone. What is done here was learnt from Envoy 1.40;
`tests/e2e/test_edge_admission.py` compares the two.
"""

from __future__ import annotations

import re

from control_plane.routing.admission.refusal import BAD_REQUEST, EdgeRefusal

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""RFC 3986 section 2.3: what is decoded when it comes percent-encoded."""

_DOT_PARAMETERS = re.compile(rb"(?<=/)(\.\.?);[^/]*")
_UNTOUCHED = re.compile(rb"(?:/(?![./])[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]]*)+")
_REWRITTEN = re.compile(rb"%[0-9A-Fa-f]{2}|%|\\|[\"<>^`{|}\x80-\xff]")
# Stands for a "%" that begins no escape; the codecs refuse NUL, so no path holds it.
_LONE_PERCENT = b"\0"
_NEW_ESCAPE = re.compile(rb"\x00(?=[0-9A-Fa-f]{2})")


def normalise_path(path: bytes) -> bytes:
    """Return the path (with its query) that Envoy forwards for ``path``, which starts with "/".

    Dot segments are resolved ("%2e" counts as a dot), backslashes become slashes, runs of slashes
    one slash. Encoded unreserved characters are decoded, other escapes keep their letters' case;
    what no path may hold is encoded. Neither "%2F" nor "%5C" is decoded. A ";" means something only
    in a segment "..;x" or ".;x" that is spelt so, which counts as ".." or ".". For example,
    ``/a/%2e%2E//b%2Fc?x=//`` becomes ``/b%2Fc?x=//``.

    Raises:
        EdgeRefusal: there is a "#" anywhere, or "%00" in the part before "?".
    """
    if b"#" in path:
        raise EdgeRefusal(BAD_REQUEST, "the request target has a '#': a fragment is never sent")
    path, mark, query = path.partition(b"?")
    if not _UNTOUCHED.fullmatch(path):
        path = _DOT_PARAMETERS.sub(rb"\1", path)
        path = _merge_slashes(_resolve_dots(_rewrite_escapes(path)))
    return path + mark + query


def _rewrite_escapes(path: bytes) -> bytes:
    rewritten = _REWRITTEN.sub(_rewrite_one, path)
    # Decoding must never build an escape that was not there: "%%34%31" is not "%41".
    return _NEW_ESCAPE.sub(b"%25", rewritten).replace(_LONE_PERCENT, b"%")


def _rewrite_one(match: re.Match[bytes]) -> bytes:
    piece = match[0]
    if piece == b"\\":
        return b"/"
    if piece == b"%":
        return _LONE_PERCENT
    if len(piece) == 1:
        return b"%%%02X" % piece[0]
    value = int(piece[1:], 16)
    if value == 0:
        raise EdgeRefusal(BAD_REQUEST, "the path has an encoded NUL (%00)")
    return bytes([value]) if value in UNRESERVED else piece


def _resolve_dots(path: bytes) -> bytes:
    """Resolve "." and ".." (RFC 3986 section 5.2.4); ".." also takes an empty segment away."""
    resolved: list[bytes] = []
    segments = path[1:].split(b"/")
    for segment in segments:
        if segment == b"..":
            del resolved[-1:]
        elif segment != b".":
            resolved.append(segment)
    if segments[-1] in {b".", b".."}:
        resolved.append(b"")
    return b"/" + b"/".join(resolved)


def _merge_slashes(path: bytes) -> bytes:
    """Leave empty segments out; "//" alone stays, since Envoy keeps both its ends."""
    if b"//" not in path:
        return path
    end = b"/" if path.endswith(b"/") else b""
    return b"/" + b"/".join(segment for segment in path.split(b"/") if segment) + end
