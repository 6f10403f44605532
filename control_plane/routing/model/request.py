"""A request as rules look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """A request as the edge forwards it: its path normalised, internal headers removed.

    Subjects of matches are bytes, because RE2 in Envoy works on the raw bytes. Header names are
    lower-case and include neither pseudo headers nor ``host`` (that is ``authority``).
    """

    method: str
    authority: bytes
    path: bytes
    headers: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(
        cls,
        path: str | bytes = "/",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        method: str = "GET",
        authority: str = "localhost",
    ) -> Request:
        """Build a request from text.

        Args:
            headers: ``:authority``, or else all ``host`` headers, joined as Envoy joins them, go
                before ``authority``.
        """
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        fields = [(name.lower(), value.encode("utf-8", "surrogateescape")) for name, value in pairs]
        named = {":authority", "host"} & {name for name, _ in fields}
        hosts = [value for name, value in fields if name == min(named, default="")]
        host = join_values(hosts) if hosts else authority.encode()
        fields = [field for field in fields if field[0] not in named]
        target = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
        return cls(method, host, target, tuple(fields))


def join_values(values: Iterable[bytes]) -> bytes:
    """Join the values of one header as Envoy does: empty ones leave no trace."""
    return b",".join(value for value in values if value)
