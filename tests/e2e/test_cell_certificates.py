"""Certificates of many kinds: the real Envoy and the control plane's probe judge them alike."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control_plane.jobs.cell_certificates import connect
from control_plane.topology.values.endpoint_policy import EndpointPolicy
from tests.e2e.cell_server import CellServer
from tests.e2e.load import get
from tests.support.raw_http import exchange
from tests.support.system import System

NAME = "api.cells.test"
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Certificate:
    """A certificate to be signed; by default one that everybody accepts."""

    names: tuple[x509.GeneralName, ...] = (x509.DNSName(NAME),)
    common: str = "x"
    key: CertificateIssuerPrivateKeyTypes = EC_KEY
    start: dt.datetime = NOW - 2 * DAY
    end: dt.datetime = NOW + DAY
    authority: bool | None = None
    depth: int | None = None
    identified: bool = False
    hash: Any = field(default_factory=hashes.SHA256)
    more: tuple[tuple[x509.ExtensionType, bool], ...] = ()

    def signed(
        self, issuer: x509.Certificate | None, key: CertificateIssuerPrivateKeyTypes
    ) -> x509.Certificate:
        """Return this certificate, signed by an issuer, or by itself without one."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.start)
            .not_valid_after(self.end)
        )
        extensions = list(self.more)
        if self.names:
            extensions.append((x509.SubjectAlternativeName(self.names), False))
        if self.authority is not None:
            extensions.append((x509.BasicConstraints(self.authority, self.depth), True))
        if self.identified:
            public = key.public_key()
            extensions.append(
                (x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            )
            extensions.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else self.hash
        return builder.sign(key, algorithm)


ROOT = Certificate((), "root", authority=True)
ROOT_KEY = ec.generate_private_key(ec.SECP256R1())
MIDDLE_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Case:
    """A certificate with its chain, the trusted anchor, the cell's names, and the right verdict."""

    good: bool
    leaf: Certificate = field(default_factory=Certificate)
    root: Certificate = ROOT
    middle: Certificate | None = None
    sends_middle: bool = True
    trusts: str = "root"
    server_name: str | None = NAME
    address: str = "cell.test"
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (
        ssl.TLSVersion.TLSv1_2,
        ssl.TLSVersion.TLSv1_3,
    )
    revoked: bool = False
    probe_is_stricter: bool = False


def dns(*names: str) -> Certificate:
    return Certificate(tuple(x509.DNSName(name) for name in names))


def ip(*addresses: str) -> Certificate:
    return Certificate(tuple(x509.IPAddress(ipaddress.ip_address(text)) for text in addresses))


def leaf(**more: Any) -> Certificate:
    return replace(Certificate(), **more)


def usage(**allowed: bool) -> x509.KeyUsage:
    names = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names})


MIDDLE = Certificate((), "middle", MIDDLE_KEY, authority=True)
IN_TESTS_ONLY = x509.NameConstraints([x509.DNSName("other.test")], None)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
CASES = {
    "plain": Case(True),
    "with key identifiers": Case(True, leaf(identified=True), replace(ROOT, identified=True)),
    "name in capitals": Case(True, server_name="API.Cells.TEST"),
    "name with a trailing dot": Case(True, server_name=f"{NAME}."),
    "certificate in capitals": Case(True, dns("API.Cells.TEST")),
    "name from the address": Case(True, dns("cell.test"), server_name=None),
    "name from the address with port": Case(True, dns("c.test"), server_name=None, address="c.test:8443"),
    "second of several names": Case(True, dns("a.test", NAME)),
    "wrong name": Case(False, dns("other.cells.test")),
    "common name only": Case(False, leaf(names=(), common=NAME)),
    "common name beside others": Case(False, leaf(names=(x509.DNSName("a.test"),), common=NAME)),
    "wildcard": Case(True, dns("*.cells.test")),
    "wildcard in capitals": Case(True, dns("*.CELLS.test")),
    "wildcard two labels up": Case(False, dns("*.test")),
    "wildcard part": Case(True, dns("a*.cells.test")),
    "wildcard end": Case(True, dns("*i.cells.test")),
    "wildcard elsewhere": Case(False, dns("api.*.test")),
    "wildcard twice": Case(False, dns("*p*.cells.test")),
    "wildcard alone": Case(False, dns("*")),
    "ip": Case(True, ip("127.0.0.1"), server_name="127.0.0.1"),
    "ip of six": Case(True, ip("::1"), server_name="::1"),
    "ip of six, written long": Case(True, ip("2001:db8::1"), server_name="2001:DB8:0:0::1"),
    "ip from the address": Case(True, ip("::1"), server_name=None, address="[::1]:8443"),
    "ip from the address of four": Case(True, ip("10.1.2.3"), server_name=None, address="10.1.2.3:1"),
    "wrong ip": Case(False, ip("127.0.0.2"), server_name="127.0.0.1"),
    "ip as a dns name": Case(False, dns("127.0.0.1"), server_name="127.0.0.1"),
    "ip where a name is wanted": Case(False, ip("127.0.0.1")),
    "uri": Case(False, leaf(names=(x509.UniformResourceIdentifier(f"https://{NAME}"),))),
    "expired": Case(False, leaf(end=NOW - DAY)),
    "not yet valid": Case(False, leaf(start=NOW + DAY / 2)),
    "expired root": Case(False, root=replace(ROOT, end=NOW - DAY)),
    "other authority": Case(False, trusts="other"),
    "self-signed, trusted": Case(True, trusts="leaf"),
    "self-signed, not trusted": Case(False, trusts="stranger"),
    "leaf is the anchor": Case(True, trusts="leaf of root"),
    "intermediate": Case(True, middle=MIDDLE),
    "intermediate missing": Case(False, middle=MIDDLE, sends_middle=False),
    "intermediate is the anchor": Case(True, middle=MIDDLE, sends_middle=False, trusts="middle"),
    "intermediate is no authority": Case(False, middle=replace(MIDDLE, authority=False)),
    "intermediate says nothing": Case(False, middle=replace(MIDDLE, authority=None)),
    "root says nothing": Case(True, root=replace(ROOT, authority=None), probe_is_stricter=True),
    "chain too deep": Case(True, root=replace(ROOT, depth=0), middle=MIDDLE, probe_is_stricter=True),
    "root may not sign": Case(False, root=replace(ROOT, more=((usage(crl_sign=True), True),))),
    "root may sign": Case(True, root=replace(ROOT, more=((usage(key_cert_sign=True), True),))),
    "for servers": Case(True, leaf(more=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),))),
    "for clients": Case(False, leaf(more=((x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),))),
    "leaf is an authority": Case(True, leaf(authority=True)),
    "unknown extension": Case(True, leaf(more=((UNKNOWN, False),))),
    "unknown critical extension": Case(False, leaf(more=((UNKNOWN, True),))),
    "name outside the constraints": Case(False, root=replace(ROOT, more=((IN_TESTS_ONLY, True),))),
    "revoked": Case(False, revoked=True),
    "short key": Case(True, leaf(key=rsa.generate_private_key(65537, 1024))),
    "rsa": Case(True, leaf(key=rsa.generate_private_key(65537, 2048))),
    "p-384": Case(True, leaf(key=ec.generate_private_key(ec.SECP384R1()))),
    "p-521": Case(True, leaf(key=ec.generate_private_key(ec.SECP521R1()))),
    "ed25519": Case(True, leaf(key=ed25519.Ed25519PrivateKey.generate())),
    "sha-512": Case(True, leaf(hash=hashes.SHA512())),
    "tls 1.2 only": Case(True, versions=(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)),
    "tls 1.3 only": Case(True, versions=(ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3)),
}  # fmt: skip


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def private(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())


def serve(case: Case, directory: Path) -> ssl.SSLContext:
    """Write a case's files (``trust.pem`` has the anchors); return the context of its server."""
    root = replace(case.root, key=ROOT_KEY).signed(None, ROOT_KEY)
    issuer, issuer_key = root, ROOT_KEY
    middle = None
    if case.middle is not None:
        middle = case.middle.signed(root, ROOT_KEY)
        issuer, issuer_key = middle, MIDDLE_KEY
    if case.trusts in {"leaf", "stranger"}:
        signed = case.leaf.signed(None, case.leaf.key)
    else:
        signed = case.leaf.signed(issuer, issuer_key)
    other = replace(ROOT, key=OTHER_KEY).signed(None, OTHER_KEY)
    anchors = {"leaf": signed, "leaf of root": signed, "middle": middle, "root": root}
    trusted = pem(anchors.get(case.trusts) or other)
    if case.revoked:
        trusted += revocation(root, signed)
    (directory / "trust.pem").write_bytes(trusted)
    chain = pem(signed) + (pem(middle) if middle is not None and case.sends_middle else b"")
    (directory / "chain.pem").write_bytes(chain + private(case.leaf.key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = case.versions
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(directory / "chain.pem")
    return context


def revocation(root: x509.Certificate, signed: x509.Certificate) -> bytes:
    entry = x509.RevokedCertificateBuilder().serial_number(signed.serial_number)
    entry = entry.revocation_date(NOW - DAY)
    listed = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(root.subject)
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .add_revoked_certificate(entry.build())
    )
    return listed.sign(ROOT_KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system with a cell for each case, numbered in their order."""
    directory = tmp_path_factory.mktemp("system")
    with System(directory, cells=0) as running, contextlib.ExitStack() as stack:
        running.use_ruleset("session_prefix")
        bodies = []
        for number, case in enumerate(CASES.values(), 1):
            files = directory / str(number)
            files.mkdir()
            server = stack.enter_context(CellServer(str(number), tls=serve(case, files)))
            name = f"cell-{number}"
            bodies.append(
                {
                    "name": name,
                    "session_prefix": name,
                    "address": case.address if case.server_name is None else f"{name}.test",
                    "endpoints": [f"127.0.0.1:{server.port}"],
                    "tls": {
                        "ca_file": str(files / "trust.pem"),
                        **({"server_name": case.server_name} if case.server_name else {}),
                    },
                    "state": "active",
                }
            )
        running.write("PUT", "/v1/topology?wait=fleet&timeout=30s", {"cells": bodies})
        yield running


@pytest.mark.parametrize("kind", CASES)
def test_envoy_and_the_probe_give_the_same_verdict(system: System, kind: str) -> None:
    number = list(CASES).index(kind) + 1
    request = get(b"/x", b"_gitlab_session=cell-%d-a" % number)
    answer = exchange(("127.0.0.1", system.edge_port), request)
    assert answer is not None
    cell = system.plane.topology.cells.get(f"cell-{number}")

    async def probed() -> bool:
        try:
            _, writer = await connect(cell.endpoints[0], cell, EndpointPolicy())
        except ssl.SSLError:
            return False
        writer.close()
        return True

    case = CASES[kind]
    assert (answer.status == 200) is case.good
    assert system.call(probed) is (case.good and not case.probe_is_stricter)
