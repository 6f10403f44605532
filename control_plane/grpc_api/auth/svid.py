"""The one name that a client's certificate carries, or why it carries none.

The problem: a certificate may have many names of several kinds. A DNS name can spell
``spiffe://cellway/admin``, and an authority that checks only host names would sign it. A URI may
hold a NUL: gRPC's own list of names ends it there, so that ``spiffe://cellway/cell/3`` followed by
a NUL and ``.evil`` reads as cell 3.

The idea: a name is what the X.509-SVID specification calls one. It is the only URI among the
certificate's subject alternative names, and the certificate is of a caller, not of an authority.
Other kinds of names may stand beside it and mean nothing. The names are read from the certificate
itself, since gRPC's list has lost their kinds and ends.

An example: ``URI:spiffe://cellway/cell/3, DNS:cell-3.example`` names cell 3. With a second URI the
certificate names nobody.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from cryptography import x509

MAX_NAME = 2048
"""Bytes of a name; the SPIFFE specification has the same limit."""
SCHEME = "spiffe://"
_VISIBLE = re.compile(r"[\x21-\x7e]+\Z")
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}\Z")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+\Z")


class NamesNobody(ValueError):
    """A certificate that can't say who its holder is; the message says why."""


@dataclass(frozen=True, slots=True)
class Svid:
    """A certificate of a caller."""

    name: str
    """Its URI."""
    trust_domain: str | None
    """``cellway`` of ``spiffe://cellway/cell/3``; None if the URI is no SPIFFE id."""
    certificate: x509.Certificate

    @property
    def not_after(self) -> dt.datetime:
        """When the certificate expires."""
        return self.certificate.not_valid_after_utc


def read_svid(pem: bytes) -> Svid:
    """Return the name in a certificate.

    Raises:
        NamesNobody: It has no URI or several, or one that can't be a name, or it is an authority's.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise NamesNobody("the certificate can't be read") from error
    if _may_sign(extensions):
        raise NamesNobody("the certificate is an authority's (CA or keyCertSign), not a caller's")
    uris = _uris(extensions)
    if len(uris) != 1:
        count = len(uris) or "no"
        text = f"the certificate has {count} URIs as subjectAltName; it has to have exactly one"
        raise NamesNobody(text)
    name = uris[0]
    if len(name) > MAX_NAME or not _VISIBLE.match(name):
        text = f"the URI is no name: 1 to {MAX_NAME} visible ASCII characters"
        raise NamesNobody(text)
    return Svid(name, _domain_of(name), certificate)


def is_trust_domain(text: str) -> bool:
    """Return whether this can be the name of a SPIFFE trust domain."""
    return bool(_TRUST_DOMAIN.match(text))


def _uris(extensions: x509.Extensions) -> list[str]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _may_sign(extensions: x509.Extensions) -> bool:
    """Return whether a certificate may sign others. The SPIFFE specification refuses these."""
    for extension in extensions:
        if isinstance(extension.value, x509.BasicConstraints) and extension.value.ca:
            return True
        if isinstance(extension.value, x509.KeyUsage) and (
            extension.value.key_cert_sign or extension.value.crl_sign
        ):
            return True
    return False


def _domain_of(name: str) -> str | None:
    """Return the trust domain of a SPIFFE id, None for another URI.

    Raises:
        NamesNobody: The scheme is SPIFFE's, and the rest is no SPIFFE id.
    """
    if not name.lower().startswith("spiffe:"):
        return None
    domain, *segments = name.removeprefix(SCHEME).split("/")
    whole = name.startswith(SCHEME) and is_trust_domain(domain) and segments
    if not whole or not all(_SEGMENT.match(one) and one not in {".", ".."} for one in segments):
        text = (
            "the URI is no SPIFFE id: spiffe://, a trust domain in lower case, and a path whose "
            "segments have letters, digits, '.', '_' and '-'"
        )
        raise NamesNobody(text)
    return domain
