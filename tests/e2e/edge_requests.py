"""Requests that try to confuse an edge: the pieces they are made of, and a seeded generator."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as a client writes it; `host` is the first Host header's value or `:authority`."""

    method: str = "GET"
    target: bytes = b"/"
    host: bytes | None = b"cells.example"
    headers: tuple[tuple[str, bytes], ...] = ()


SEGMENTS = [
    *(b"a", b"b", b".", b"..", b"...", b"%2e", b"%2E", b"%2e%2e", b"%", b"%%", b"%2", b"%41"),
    *(b"%61", b"%7e", b"%2F", b"%2f", b"%5C", b"%25", b"%c3%a9", b"%C0%AF", b"%30", b"%34%31"),
    *(b"4", b"1", b"e", b"\\", b";", b";p=1", b"~", b"|", b"^", b'"', b"<", b"{", b"`", b"["),
    *(b"]", b"@", b":", b"=", b"&", b"+", b"*", b"'", b"!", b"$", b",", b"(", b"_", b"-"),
]
RARE_SEGMENTS = [b"#", b"%00", b"\xc3\xa9", b"\xff", b"\x01", b"\x7f", b"//", b"?", b"\t x"]
SCHEMES = [b"http", b"HTTP", b"http", b"https", b"ftp", b"h", b"1http", b"ht+tp"]
HOSTS = [
    *(b"a", b"A.b", b"a:80", b"a:", b":80", b"[::1]", b"[::1]:80", b"u@a", b"u:p@a:8", b"@a"),
    *(b"a@", b"a@@b", b"a%41", b"a_b", b"a..b.", b"", b"-", b"a,b", b"a:65535", b"a:65536"),
    *(b"a:080", b"a:0000000000000080", b"[]", b"[::1", b"::1", b"[fe80::1%25a]", b"[v1.a]"),
    *(b"[1.2.3.4]", b"a[", b"*", b"a;b", b"u~@a", b"u%zz@a", b"u[@a", b"a:8a", b"a~", b"a'"),
    *(b"u,x@a", b"a b", b"\xff", b"u:p:q@a", b"[a:b]x", b"[zz]", b"[::1%eth0]", b"xn--a-bca.x"),
]
ODD_TARGETS = [b"*", b"*a", b"*?", b"*#", b"a", b"a:80", b"?", b"a/b", b"http", b"", b"a:80/x"]
NAMES = [
    *("a", "A", "b", "x-foo", "X-Cellway-Cell", "x-CELLWAY-rule", "x-cellway-", "x-cellway"),
    *("accept", "Accept", "cookie", "Cookie", "content-type", "te", "expect", "keep-alive"),
    *("proxy-connection", "x-forwarded-host", "x-forwarded-for", "x-forwarded-proto"),
    *("x-request-id", "x-envoy-retry-on", "x-envoy-foo", "http2-settings", "trailer", "origin"),
    *("user-agent", "authorization", "via", "x-forwarded-client-cert", "x-original-url"),
    *("forwarded", "x-rewrite-url", "x-envoy-auth-failure-mode-allowed"),
]
KNOWN_NAMES = [
    *("accept", "accept-charset", "accept-encoding", "accept-language"),
    *("access-control-request-headers", "access-control-request-method", "age"),
    *("authorization", "cache-control", "cdn-loop", "content-encoding"),
    *("content-language", "content-type", "cookie", "date", "deploy-token", "dnt", "etag"),
    *("expect", "forwarded", "from", "grpc-accept-encoding", "grpc-timeout", "if-match"),
    *("if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
    *("job-token", "keep-alive", "link", "origin", "pragma", "private-token"),
    *("proxy-authorization", "range", "referer", "sec-fetch-site", "server"),
    *("traceparent", "tracestate", "user-agent", "vary", "via", "warning", "x-b3-traceid"),
    *("x-client-trace-id", "x-envoy-attempt-count", "x-envoy-foo"),
    *("x-envoy-is-timeout-retry", "x-forwarded-host", "x-forwarded-port"),
    *("x-http-method-override", "x-original-url", "x-real-ip", "x-request-id"),
    *("x-rewrite-url"),
]
REFUSED_NAMES = ["a_b", "x_cellway_cell", "a b", "a(", "", "\xe9", ":path", ":authority"]
VALUES = [b"", b"1", b"2", b" x ", b"a=b", b"a=b; c=d", b"\xff", b"\t", b"a\tb"]
ODD_VALUES = [
    *(b"a\r b", b"a\r\n b", b"a\r\n\t b\r\n c", b"\0", b"\x7f", b"a\x01", b"\x0b", b"100-continue"),
    *(b"100-Continue", b"a b"),
]
CONNECTION_VALUES = [
    *(b"upgrade", b"Upgrade", b"keep-alive, Upgrade", b"close", b"cookie", b"a", b"a, b", b"te"),
    *(b"x-foo, upgrade", b"TE, a", b"host", b"x-forwarded-for", b"X-Forwarded-Host", b":path"),
    *(b"http2-settings, upgrade", b"accept,,b , ", b"x-cellway-cell", b"connection", b""),
    *(b"upgrade ,x-foo", b"a,b,c,d,e,f,g,h,i", b"a,b,c,d,e,f,g,h,i,j", b"transfer-encoding"),
]
UPGRADE_VALUES = [b"websocket", b"WebSocket", b"h2c", b"H2C", b"websocket, h2c", b"", b"x"]
TE_VALUES = [
    *(b"trailers", b"Trailers", b"gzip", b"gzip, trailers", b"trailers;q=1", b"", b"trailersx"),
    *(b"gzip;q=1, Trailers ; q=0.5", b" trailers , x", b"TRAILERS,trailers", b"x" * 256),
]
CODINGS = [b"identity", b"gzip", b"chunked, chunked", b"", b"x", b"xchunked"]
LENGTHS = [b"x", b"-1", b"", b"0", b"00", b"1,1", b"+0", b"99999999999999999999"]
METHODS = [*["GET"] * 12, "OPTIONS", "CONNECT", "POST", "QUERY", "FOO", "get", "HEAD", "PATCH"]


class RequestMaker:
    """Generates requests; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def path(self) -> bytes:
        """Return a path with parts that may confuse a normaliser, sometimes with a query."""
        chance, path = self._random.random, b"/"
        for _ in range(self._random.randrange(9)):
            if (roll := chance()) < 0.3:
                path += b"/"
            else:
                path += self._random.choice(SEGMENTS if roll < 0.99 else RARE_SEGMENTS)
            if chance() < 0.08:
                path += self._random.choice([b"?", b"/", b"\\"])
        return path

    def target(self) -> bytes:
        """Return a request target of any form."""
        if (roll := self._random.random()) < 0.6:
            return self.path()
        if roll > 0.95:
            return self._random.choice(ODD_TARGETS)
        start = self._random.choice(SCHEMES) + self._random.choice([b"://"] * 9 + [b":/", b":///"])
        end = self._random.choice([b"", b"/", b"?x", b"#f", self.path()])
        return start + self._random.choice(HOSTS) + end

    def host(self) -> bytes | None:
        """Return a Host, or None."""
        return self._random.choice([*[b"cells.example"] * len(HOSTS), None, *HOSTS])

    def headers(self, *, http2: bool = False) -> tuple[tuple[str, bytes], ...]:
        """Return a few headers; for HTTP/2 mostly such as its codec does not refuse at once."""
        count = self._random.choice([0, 0, 0, 1, 1, 2, 3, 5])
        headers = [self._header(connection=not http2) for _ in range(count)]
        if http2 and self._random.random() < 0.95:
            return tuple((name.lower(), value.strip(b" \t")) for name, value in headers)
        return tuple(headers)

    def http1(self) -> RawRequest:
        """Return a request to be sent by HTTP/1.1."""
        method = self._random.choice(METHODS)
        return RawRequest(method, self.target(), self.host(), self.headers())

    def http2(self) -> RawRequest:
        """Return a request to be sent by HTTP/2."""
        path = self.path() if self._random.random() < 0.95 else self._random.choice(ODD_TARGETS)
        if self._random.random() < 0.1:
            path += self._random.choice([b"\xc3", b"\xff/%2e", b"?\xff"])
        method, host = self._random.choice(METHODS), self.host()
        headers = self.headers(http2=True)
        if host is None:
            # Right after the other pseudo headers it would be the authority, not a header.
            headers = tuple(field for field in headers if field[0] != ":authority")
        return RawRequest(method, path, host, headers)

    def _header(self, *, connection: bool) -> tuple[str, bytes]:
        pick, roll = self._random.choice, self._random.random()
        if connection and roll < 0.15:
            return pick(["Connection", "connection"]), pick(CONNECTION_VALUES)
        if connection and roll < 0.22:
            return "Upgrade", pick(UPGRADE_VALUES)
        if connection and roll < 0.25:
            return "Transfer-Encoding", pick(CODINGS)
        if roll < 0.31:
            return "TE", pick(TE_VALUES if connection else TE_VALUES[:2])
        if roll < 0.34:
            return pick(["host", "Host"]), pick(HOSTS)
        if roll < 0.36:
            return "Content-Length", pick(LENGTHS)
        if roll < 0.37:
            return pick(REFUSED_NAMES), pick(VALUES)
        return pick(NAMES), pick(VALUES if roll < 0.98 else ODD_VALUES)
