"""Header fields as Envoy's router and the classifier see them, made from those of a client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from control_plane.names import AUTHZ_FAILED_HEADER, INTERNAL_PREFIX
from control_plane.routing.admission.refusal import (
    BAD_REQUEST,
    FORBIDDEN,
    HEADERS_TOO_LARGE,
    NOT_IMPLEMENTED,
    EdgeRefusal,
)
from control_plane.routing.model import join_values

Header = tuple[str, bytes]

MAX_HEADER_ENTRIES = 100
PSEUDO_HEADERS = 4
MAX_CONNECTION_TOKENS = 9
MAX_NOMINATED_TE_BYTES = 255
MAX_CONTENT_LENGTH = (1 << 64) - 1
ALLOWED_UPGRADES = frozenset({b"websocket"})

WRITTEN_BY_EDGE = frozenset(
    {"x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-envoy-external-address"}
)
"""The edge writes these itself, from the connection. What a client sends there counts for nothing
(of X-Forwarded-For it stays as a prefix), so no rule may depend on them; the model omits them."""

REMOVED_BY_EDGE = frozenset(
    {
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        AUTHZ_FAILED_HEADER,
        "x-envoy-decorator-operation",
        "x-envoy-downstream-service-cluster",
        "x-envoy-downstream-service-node",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-force-trace",
        "x-envoy-hedge-on-per-try-timeout",
        "x-envoy-internal",
        "x-envoy-ip-tags",
        "x-envoy-max-retries",
        "x-envoy-original-host",
        "x-envoy-original-path",
        "x-envoy-original-url",
        "x-envoy-retriable-header-names",
        "x-envoy-retriable-status-codes",
        "x-envoy-retry-grpc-on",
        "x-envoy-retry-on",
        "x-envoy-upstream-alt-stat-name",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-upstream-rq-timeout-alt-response",
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-upstream-stream-duration-ms",
        "x-forwarded-client-cert",
    }
)
"""Hop-by-hop fields, and Envoy's own that only a trusted peer may send (`use_remote_address`)."""

UNSEEN_BY_RULES = WRITTEN_BY_EDGE | REMOVED_BY_EDGE | {"content-length"}
"""No rule sees these, whoever evaluates it. When the classifier is asked, the edge's own values
stand there, and the Content-Length is that of the question."""

_JOINED_BY_EDGE = frozenset(
    {
        *("accept", "accept-encoding", "access-control-request-headers"),
        *("access-control-request-method", "authorization", "cache-control", "cdn-loop"),
        *("connection", "content-encoding", "content-type", "expect", "grpc-accept-encoding"),
        *("grpc-timeout", "if-match", "if-modified-since", "if-none-match", "if-range"),
        *("if-unmodified-since", "keep-alive", "origin", "pragma", "proxy-connection", "referer"),
        *("te", "transfer-encoding", "upgrade", "user-agent", "via", "x-client-trace-id"),
        *("x-envoy-attempt-count", "x-envoy-is-timeout-retry", "x-forwarded-for"),
        *("x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-request-id"),
    }
)
_NEVER_NOMINATED = frozenset({"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"})
_CONNECTION_OPTIONS = frozenset({"close", "connection", "http2-settings", "keep-alive", "upgrade"})
_FORBIDDEN_IN_HTTP2 = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_VALUE = re.compile(rb"[\t -~\x80-\xff]*")
_CONTENT_LENGTH = re.compile(rb"0*([0-9]{1,20})")
_FOLD = re.compile(rb"\n(?=[ \t])")


def read_http1_fields(method: str, headers: Iterable[Header]) -> list[Header]:
    """Check and clean the fields of an HTTP/1.1 request.

    Names become lower-case; blanks around a value, a bare CR and line folding go, as Envoy's codec
    drops them. Repeated fields are joined where Envoy joins them, and those that the Connection
    field nominates are removed.

    Raises:
        EdgeRefusal: the codec, or the connection manager, refuses such a request.
    """
    fields = [(_http1_name(name), _http1_value(name, value)) for name, value in headers]
    _check_underscores(fields)
    joined = join_repeated(fields)
    _check_count(len(joined))
    _check_framing(method, fields)
    return joined if method == "CONNECT" else _apply_connection(joined)


def read_http2_fields(headers: Iterable[Header]) -> list[Header]:
    """Check the fields of an HTTP/2 request (RFC 9113 section 8.2), and join repeated ones.

    Raises:
        EdgeRefusal: the codec, or the connection manager, refuses such a request.
    """
    fields = list(headers)
    for name, value in fields:
        if not _NAME.fullmatch(name) or name != name.lower():
            raise EdgeRefusal(BAD_REQUEST, f"invalid header name {name!r}")
        if not _VALUE.fullmatch(value):
            raise EdgeRefusal(BAD_REQUEST, f"header {name!r} has a control character")
        if name in _FORBIDDEN_IN_HTTP2 or (name == "te" and value.lower() != b"trailers"):
            raise EdgeRefusal(BAD_REQUEST, f"header {name!r} is connection-specific")
    _check_underscores(fields)
    _check_content_length([value for name, value in fields if name == "content-length"])
    joined = join_repeated(fields)
    _check_count(len(joined) + PSEUDO_HEADERS)
    return _join_cookies(joined)


def join_repeated(fields: Sequence[Header]) -> list[Header]:
    """Join the fields that Envoy keeps only one of, at the first one's place; others stay."""
    places: dict[str, int] = {}
    joined: list[Header] = []
    for name, value in fields:
        if name in places:
            place = places[name]
            joined[place] = (name, join_values([joined[place][1], value]))
            continue
        if name in _JOINED_BY_EDGE:
            places[name] = len(joined)
        joined.append((name, value))
    return joined


def _join_cookies(fields: Sequence[Header]) -> list[Header]:
    """Join Cookie fields to one, the last field, as HTTP/2 needs it (RFC 9113 section 8.2.3)."""
    cookie = b""
    for name, value in fields:
        if name == "cookie":
            cookie = cookie + b"; " + value if cookie else value
    others = [field for field in fields if field[0] != "cookie"]
    return [*others, ("cookie", cookie)] if cookie else others


def _apply_connection(fields: Sequence[Header]) -> list[Header]:
    """Remove what an HTTP/1.1 Connection field nominates (RFC 9110 section 7.6.1).

    An upgrade to h2c is never made, so its fields go; a request for another upgrade is left whole.

    Raises:
        EdgeRefusal: a nominated field may tell where the request comes from, or there are too many.
    """
    values = dict(fields)
    tokens = _tokens(values)
    nominated = set(tokens) - _CONNECTION_OPTIONS
    upgrade = _upgrade(values)
    if upgrade == b"h2c":
        nominated |= {"http2-settings", "upgrade"}
        tokens = [token for token in tokens if token not in {"http2-settings", "upgrade"}]
    elif upgrade is not None:
        return list(fields)
    if len(tokens) > MAX_CONNECTION_TOKENS:
        raise EdgeRefusal(BAD_REQUEST, "the Connection header nominates too many headers")
    for name in nominated:
        if name in _NEVER_NOMINATED or name.startswith(":"):
            raise EdgeRefusal(BAD_REQUEST, f"the Connection header nominates {name!r}")
    if "te" in nominated and len(values.get("te", b"")) > MAX_NOMINATED_TE_BYTES:
        raise EdgeRefusal(BAD_REQUEST, "the TE header is too long")
    if "te" in nominated and _accepts_trailers(values.get("te", b"").lower()):
        nominated.discard("te")
        fields = [(name, b"trailers" if name == "te" else value) for name, value in fields]
    return [field for field in fields if field[0] not in nominated]


def forwarded_fields(fields: Sequence[Header]) -> tuple[Header, ...]:
    """Return the fields that reach the router, without the edge's own (`WRITTEN_BY_EDGE`).

    Raises:
        EdgeRefusal: the request asks for an upgrade that the edge does not serve.
    """
    values = dict(fields)
    upgrade = _upgrade(values)
    if upgrade is not None and upgrade not in ALLOWED_UPGRADES:
        raise EdgeRefusal(FORBIDDEN, f"the edge serves no upgrade to {upgrade!r}")
    dropped = REMOVED_BY_EDGE | WRITTEN_BY_EDGE
    if upgrade is None:
        dropped |= {"connection", "upgrade"}
    if values.get("expect", b"").lower() == b"100-continue":
        dropped |= {"expect"}
    if upgrade is None and _accepts_trailers(values.get("te", b"")):
        fields = [(name, b"trailers" if name == "te" else value) for name, value in fields]
    elif upgrade is None and values.get("te"):
        dropped |= {"te"}
    return tuple(
        (name, value)
        for name, value in fields
        if name not in dropped and not name.startswith(INTERNAL_PREFIX)
    )


def _upgrade(values: dict[str, bytes]) -> bytes | None:
    if "upgrade" not in _tokens(values) or "upgrade" not in values:
        return None
    return values["upgrade"].lower()


def _tokens(values: dict[str, bytes]) -> list[str]:
    pieces = values.get("connection", b"").split(b",")
    return [piece.strip(b" \t").decode("latin-1").lower() for piece in pieces if piece]


def _accepts_trailers(te: bytes) -> bool:
    return b"trailers" in (token.strip(b" \t") for token in te.split(b","))


def _http1_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise EdgeRefusal(BAD_REQUEST, f"invalid header name {name!r}")
    return name.lower()


def _http1_value(name: str, value: bytes) -> bytes:
    cleaned = _FOLD.sub(b"", value.replace(b"\r", b"")).strip(b" \t")
    if not _VALUE.fullmatch(cleaned):
        raise EdgeRefusal(BAD_REQUEST, f"header {name!r} has a control character")
    return cleaned


def _check_underscores(fields: Sequence[Header]) -> None:
    for name, _ in fields:
        if "_" in name:
            raise EdgeRefusal(BAD_REQUEST, f"header name {name!r} has an underscore")


def _check_count(entries: int) -> None:
    if entries > MAX_HEADER_ENTRIES:
        raise EdgeRefusal(HEADERS_TOO_LARGE, f"more than {MAX_HEADER_ENTRIES} headers")


def _check_framing(method: str, fields: Sequence[Header]) -> None:
    """Refuse what two readers could frame differently: RFC 9112 section 6.3, without leniency."""
    lengths = [value for name, value in fields if name == "content-length"]
    codings = [value for name, value in fields if name == "transfer-encoding"]
    _check_content_length(lengths)
    if method == "CONNECT" and lengths:
        if lengths != [b"0"]:
            raise EdgeRefusal(BAD_REQUEST, "CONNECT with a body")
        lengths = []
    if codings and lengths:
        raise EdgeRefusal(BAD_REQUEST, "both Content-Length and Transfer-Encoding")
    if codings and join_values(codings).lower() != b"chunked":
        raise EdgeRefusal(NOT_IMPLEMENTED, "a transfer coding other than chunked")


def _check_content_length(values: Sequence[bytes]) -> None:
    if len(values) > 1:
        raise EdgeRefusal(BAD_REQUEST, "more than one Content-Length")
    for value in values:
        number = _CONTENT_LENGTH.fullmatch(value)
        if number is None or int(number[1]) > MAX_CONTENT_LENGTH:
            raise EdgeRefusal(BAD_REQUEST, "Content-Length is no number of bytes")
