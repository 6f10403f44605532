"""Authorities sign the names of their own trust domain only: real handshakes with a real server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from control_plane.grpc_api.auth.svid import NamesNobody, read_svid
from control_plane.grpc_api.auth.trust import MAX_INTERMEDIATES, Trust
from control_plane.server import Running, running
from control_plane.settings import Settings
from tests.support.certificates import Authority, Pair, channel, replace

HEALTH = "/grpc.health.v1.Health/Check"
OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
URI = x509.UniformResourceIdentifier
EU_CELL, US_CELL = "spiffe://eu.example/cell/3", "spiffe://us.example/cell/3"


def below(authority: Authority, name: str, intermediate: Authority) -> Pair:
    """A certificate of an intermediate authority, with that authority's certificate."""
    pair = intermediate.sign(name)
    return Pair(pair.certificate + authority.vouch_for(intermediate), pair.key)


@contextlib.asynccontextmanager
async def federated(folder: Path, **bundles: Authority) -> AsyncIterator[Running]:
    """A server of the trust domain eu.example, which knows others."""
    pair = bundles["eu"].sign(dns=("localhost",))
    replace(folder / "server.crt", pair.certificate)
    replace(folder / "server.key", pair.key)
    for name, authority in bundles.items():
        replace(folder / f"{name}.pem", authority.pem)
    settings = Settings(
        database_url=f"sqlite:///{folder}/topology.db",
        roles=("topology",),
        grpc_port=0,
        health_interval_s=0,
        grpc_tls_certificate=folder / "server.crt",
        grpc_tls_key=folder / "server.key",
        grpc_trust_domains={f"{name}.example": folder / f"{name}.pem" for name in bundles},
        grpc_cell_name=r"spiffe://[a-z]+\.example/cell/(?P<cell>[1-9][0-9]*)",
        grpc_admin_name=r"spiffe://eu\.example/admin",
    )
    async with running(settings) as plane:
        yield plane


async def called(plane: Running, trusted: Authority, pair: Pair) -> tuple[grpc.StatusCode, str]:
    async with channel(plane.ports.grpc, trusted.pem, pair) as open_channel:
        return await answer(open_channel)


async def answer(open_channel: grpc.aio.Channel) -> tuple[grpc.StatusCode, str]:
    try:
        await open_channel.unary_unary(HEALTH)(b"", timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return OK, ""


async def test_each_domain_s_authorities_sign_its_own_names_only(tmp_path: Path) -> None:
    eu, us = Authority("eu"), Authority("us")
    async with federated(tmp_path, eu=eu, us=us) as plane:
        nested = Authority("eu nested")
        for pair in (eu.sign(EU_CELL), us.sign(US_CELL), below(eu, EU_CELL, nested)):
            assert await called(plane, eu, pair) == (OK, "")
        for signer, name, why in (
            (us, EU_CELL, "no authority of the trust domain eu.example has signed it"),
            (us, "spiffe://eu.example/admin", "no authority of the trust domain eu.example"),
            (eu, US_CELL, "no authority of the trust domain us.example"),
            (eu, "spiffe://asia.example/cell/3", "trust domain is none of those"),
            (us, "spiffe://us.example/admin", "name of none of them"),
        ):
            code, text = await called(plane, eu, signer.sign(name))
            assert (code, why in text) == (UNAUTHENTICATED, True), (name, text)
        code, text = await called(plane, eu, below(us, EU_CELL, Authority("us nested")))
        assert (code, "no authority of" in text) == (UNAUTHENTICATED, True)


async def test_a_bundle_is_rotated_while_connections_live_on(tmp_path: Path) -> None:
    old, fresh, us = Authority("eu old"), Authority("eu fresh"), Authority("us")
    async with (
        federated(tmp_path, eu=old, us=us) as plane,
        channel(plane.ports.grpc, old.pem, old.sign(EU_CELL)) as living,
    ):
        assert await answer(living) == (OK, "")
        replace(tmp_path / "eu.pem", old.pem + fresh.pem)
        assert (await called(plane, old, fresh.sign(EU_CELL)))[0] is OK
        pair = fresh.sign(dns=("localhost",))
        replace(tmp_path / "server.crt", pair.certificate)
        replace(tmp_path / "server.key", pair.key)
        assert (await called(plane, fresh, fresh.sign(EU_CELL)))[0] is OK
        assert (await called(plane, fresh, us.sign(EU_CELL)))[0] is UNAUTHENTICATED
        assert await answer(living) == (OK, ""), "it has the certificate it began with"
        replace(tmp_path / "eu.pem", fresh.pem)
        assert (await called(plane, fresh, fresh.sign(EU_CELL)))[0] is OK
        code, text = await answer(living)
        assert (code, "no authority" in text) == (UNAUTHENTICATED, True), "taken back"


async def test_a_broken_bundle_leaves_the_old_one(tmp_path: Path) -> None:
    eu, us = Authority("eu"), Authority("us")
    async with federated(tmp_path, eu=eu, us=us) as plane:
        broken = eu.pem + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        for content in (b"", broken):
            replace(tmp_path / "us.pem", content)
            assert (await called(plane, eu, us.sign(US_CELL)))[0] is OK
        failures = "cellway_grpc_tls_reload_failures_total"
        assert plane.registry.get_sample_value(failures) == 2


def test_a_caller_is_no_authority_for_another_chain() -> None:
    """Who has the us authority and a cell's certificate of eu makes no admin of eu from them."""
    eu, us = Authority("eu"), Authority("us")
    trust = Trust({"eu.example": [x509.load_pem_x509_certificate(eu.pem)]})
    own_key = ec.generate_private_key(ec.SECP256R1())
    own = eu.sign_names([URI(EU_CELL)], common="own", key=own_key)
    impostor = Authority("own")
    impostor._key = own_key
    forged = us.sign("spiffe://eu.example/admin")
    sent = impostor.vouch_for(us) + own.certificate
    with pytest.raises(NamesNobody, match="no authority"):
        trust.check(read_svid(forged.certificate), sent)
    trust.check(read_svid(own.certificate), b"")
    trust.check(read_svid(us.sign(EU_CELL).certificate), eu.vouch_for(us))


def test_a_certificate_that_expires_on_an_open_connection_stays_known() -> None:
    eu = Authority("eu")
    trust = Trust({"eu.example": [x509.load_pem_x509_certificate(eu.pem)]})
    trust.check(read_svid(eu.sign(EU_CELL, days=-1).certificate), b"")


def test_certificates_sent_along_can_t_make_the_check_long() -> None:
    """Intermediates that sign one another leave as many paths as there are orders of them."""
    eu, us = Authority("eu"), Authority("us")
    trust = Trust({"eu.example": [x509.load_pem_x509_certificate(eu.pem)]})
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "us")])
    circle = [us.vouch(name, us._key.public_key()) for _ in range(MAX_INTERMEDIATES + 1)]
    forged = read_svid(us.sign(EU_CELL).certificate)
    started = time.process_time()
    with pytest.raises(NamesNobody, match="no authority"):
        trust.check(forged, b"".join(circle[:MAX_INTERMEDIATES]))
    assert time.process_time() - started < 1
    with pytest.raises(NamesNobody, match="at most"):
        trust.check(forged, b"".join(circle))
    with pytest.raises(NamesNobody, match="can't be read"):
        trust.check(forged, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
