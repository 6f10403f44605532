"""Which authorities may sign whose names: the bundle of each SPIFFE trust domain.

The problem: a handshake accepts a certificate that any of the configured authorities has signed.
With the authorities of two trust domains, that of ``partner.example`` could sign
``spiffe://prod.example/admin``.

The idea: gRPC hands over the certificates that the client has sent. The chain is verified once
more, this time with the authorities of the name's own trust domain only. That costs as much as a
part of a handshake, so the result is kept for each certificate (see `callers`).

An example: with ``{"prod.example": prod.pem, "partner.example": partner.pem}``, a certificate for
``spiffe://prod.example/cell/3`` needs a chain to an authority in prod.pem. A name of a third domain
is refused, and so is a URI that is no SPIFFE id.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from control_plane.grpc_api.auth.svid import NamesNobody, Svid

ANY_NAME = ""
"""Stands for a trust domain: its authorities may sign every name."""
MAX_INTERMEDIATES = 4
"""How many intermediate certificates a client may send, and a chain may have. Certificates that
sign one another in circles would otherwise make verification take as long as a client wants."""
_SECOND = dt.timedelta(seconds=1)


class Trust:
    """The authorities by trust domain, as of one reading of their files."""

    def __init__(self, bundles: Mapping[str, Sequence[x509.Certificate]]) -> None:
        """Keep the authorities; those of `ANY_NAME` are what the handshake has checked already."""
        self._stores = {
            domain: Store(list(authorities))
            for domain, authorities in bundles.items()
            if domain != ANY_NAME
        }

    @property
    def by_domain(self) -> bool:
        """Whether names are checked against the authorities of their trust domain."""
        return bool(self._stores)

    def check(self, svid: Svid, sent: bytes) -> None:
        """Check that an authority of the name's trust domain has signed a certificate.

        Args:
            svid: The certificate, whose handshake has succeeded.
            sent: The certificates (PEM) that the client has sent along.

        Raises:
            NamesNobody: The trust domain is not known, or none of its authorities has signed it.
        """
        if not self._stores:
            return
        store = None if svid.trust_domain is None else self._stores.get(svid.trust_domain)
        if store is None:
            raise NamesNobody("the URI's trust domain is none of those that are configured here")
        # The handshake has checked the time. A certificate that has expired since then is as good
        # as its connection, which ends after 12 hours.
        now = min(dt.datetime.now(dt.UTC), svid.not_after - _SECOND)
        verifier = (
            PolicyBuilder()
            .store(store)
            .time(now)
            .max_chain_depth(MAX_INTERMEDIATES)
            .extension_policies(ca_policy=_AUTHORITY, ee_policy=ExtensionPolicy.permit_all())
            .build_client_verifier()
        )
        try:
            verifier.verify(svid.certificate, _intermediates(svid, sent))
        except VerificationError as error:
            text = f"no authority of the trust domain {svid.trust_domain} has signed it"
            raise NamesNobody(text) from error


def _intermediates(svid: Svid, sent: bytes) -> list[x509.Certificate]:
    try:
        certificates = x509.load_pem_x509_certificates(sent) if sent else []
    except ValueError as error:
        raise NamesNobody("the certificates that were sent along can't be read") from error
    others = [one for one in certificates if one != svid.certificate]
    if len(others) > MAX_INTERMEDIATES:
        text = f"{len(others)} certificates were sent along; at most {MAX_INTERMEDIATES} are read"
        raise NamesNobody(text)
    return others


def _is_authority(
    _policy: object, _certificate: x509.Certificate, constraints: x509.BasicConstraints
) -> None:
    if not constraints.ca:
        raise ValueError("it is no authority")


def _signs_certificates(
    _policy: object, _certificate: x509.Certificate, usage: x509.KeyUsage | None
) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("its key may not sign certificates")


_AUTHORITY = (
    # What else an authority's certificate has to carry differs between issuers; the handshake has
    # checked the chain by the rules of TLS.
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs_certificates)
)
