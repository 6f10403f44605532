"""Who a connection's certificate says that the caller is, remembered for each certificate."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from control_plane.grpc_api.auth.identity import Caller, NamePatterns
from control_plane.grpc_api.auth.svid import NamesNobody, read_svid
from control_plane.grpc_api.auth.trust import Trust

MAX_CALLERS = 10_000
"""How many certificates' callers are remembered."""
AFTER_EXPIRY_S = 14 * 3600.0
"""How long after its expiry a certificate may still be that of an open connection, which lasts for
12 hours and a tenth. A resumed TLS session could show an older one."""
_CERTIFICATE = "x509_pem_cert"
_SENT_ALONG = "x509_pem_cert_chain"


@dataclass(frozen=True, slots=True)
class _Known:
    """What a certificate was found to say."""

    caller: Caller | None
    refusal: str
    until: float
    """The time (Unix) from which on the certificate is too old."""


class Callers:
    """Reads callers from gRPC's authentication contexts."""

    def __init__(self, patterns: NamePatterns, trust: Callable[[], Trust]) -> None:
        """Remember nobody yet.

        Args:
            patterns: Say whom names mean.
            trust: Returns the authorities as they are now. When it returns other ones than before,
                every certificate is checked anew.
        """
        self._patterns = patterns
        self._trust = trust
        self._seen: Trust | None = None
        self._known: dict[bytes, _Known] = {}

    async def of(self, properties: Mapping[str, Iterable[bytes]]) -> Caller:
        """Return the caller of a connection.

        Args:
            properties: gRPC's authentication context.

        Raises:
            NamesNobody: The certificate names nobody that is known here; the message says why.
        """
        trust = self._trust()
        if trust is not self._seen:
            self._known.clear()
            self._seen = trust
        pem = b"".join(properties.get(_CERTIFICATE, ()))
        sent = b"".join(properties.get(_SENT_ALONG, ())) if trust.by_domain else b""
        digest = hashlib.sha256(pem)
        digest.update(sent)
        key = digest.digest()
        known = self._known.get(key)
        if known is None:
            known = await self._find(trust, pem, sent)
            if len(self._known) >= MAX_CALLERS:
                self._known.clear()
            if trust is self._seen:
                self._known[key] = known
        if known.caller is None:
            raise NamesNobody(known.refusal)
        if time.time() > known.until:
            raise NamesNobody("the certificate has expired")
        return known.caller

    async def _find(self, trust: Trust, pem: bytes, sent: bytes) -> _Known:
        if trust.by_domain:
            # It verifies signatures, some hundred of them at worst.
            return await asyncio.to_thread(self._read, trust, pem, sent)
        return self._read(trust, pem, sent)

    def _read(self, trust: Trust, pem: bytes, sent: bytes) -> _Known:
        try:
            svid = read_svid(pem)
            trust.check(svid, sent)
        except NamesNobody as error:
            return _Known(None, str(error), 0)
        caller = self._patterns.caller_of(svid.name)
        until = svid.not_after.timestamp() + AFTER_EXPIRY_S
        return _Known(caller, "its URI is the name of none of them", until)
