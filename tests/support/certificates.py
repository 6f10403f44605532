"""Certificate authorities, and certificates that they sign during a test."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "test authority", above: Authority | None = None) -> None:
        """Make one: a root, or an intermediate one that another has signed."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = (above or self).vouch(self._name, self._key.public_key())

    def vouch(self, name: x509.Name, key: ec.EllipticCurvePublicKey) -> bytes:
        """Return a certificate (PEM) that makes an authority of a name and a key."""
        builder = self._builder(name, key, 1).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        return _pem(builder.sign(self._key, hashes.SHA256()))

    def vouch_for(self, other: Authority) -> bytes:
        """Return a certificate (PEM) that puts another authority below this one."""
        return self.vouch(other._name, other._key.public_key())

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + days * DAY)
        )

    def sign(
        self, *uris: str, dns: tuple[str, ...] = (), common: str = "x", days: float = 1
    ) -> Pair:
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName(name) for name in dns]
        return self.sign_names(names, common=common, days=days)

    def sign_names(
        self,
        names: Sequence[x509.GeneralName],
        *more: x509.ExtensionType,
        common: str = "x",
        days: float = 1,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Pair:
        """Sign a certificate with these names and further extensions."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        builder = self._builder(subject, key.public_key(), days)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        for extension in more:
            builder = builder.add_extension(extension, critical=True)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return Pair(_pem(builder.sign(self._key, hashes.SHA256())), private)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def replace(path: Path, content: bytes) -> None:
    """Replace a file in one step, as programs that renew certificates do."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)  # noqa: PTH105 - one step, over the old file


def channel(port: int, authority: bytes, pair: Pair | None) -> grpc.aio.Channel:
    """Return a channel with a client certificate to a server whose name must be ``localhost``."""
    credentials = grpc.ssl_channel_credentials(
        authority, pair and pair.key, pair and pair.certificate
    )
    return grpc.aio.secure_channel(
        f"127.0.0.1:{port}", credentials, (("grpc.ssl_target_name_override", "localhost"),)
    )
