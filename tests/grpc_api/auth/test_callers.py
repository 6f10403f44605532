"""What is remembered of a certificate, and until when."""

from __future__ import annotations

import pytest
from cryptography import x509

from control_plane.grpc_api.auth import callers as module
from control_plane.grpc_api.auth.callers import AFTER_EXPIRY_S, Callers
from control_plane.grpc_api.auth.identity import NamePatterns, Role
from control_plane.grpc_api.auth.svid import NamesNobody
from control_plane.grpc_api.auth.trust import Trust
from tests.support.certificates import Authority

PATTERNS = NamePatterns({Role.CELL: (r"spiffe://eu/cell/(?P<cell>\d+)",)})
CELL = "spiffe://eu/cell/3"
EU, US = Authority("eu"), Authority("us")


def trusting(*authorities: Authority) -> Trust:
    return Trust({"eu": [x509.load_pem_x509_certificate(one.pem) for one in authorities]})


def context(pem: bytes, *sent: bytes) -> dict[str, list[bytes]]:
    return {"x509_pem_cert": [pem], "x509_pem_cert_chain": list(sent)}


async def test_other_authorities_make_every_certificate_be_checked_anew() -> None:
    trust = trusting(EU)
    callers = Callers(PATTERNS, lambda: trust)
    of_us = context(US.sign(CELL).certificate)
    of_eu = context(EU.sign(CELL).certificate)
    for _ in range(2):
        assert str(await callers.of(of_eu)) == "cell/3"
        with pytest.raises(NamesNobody, match="no authority"):
            await callers.of(of_us)
    trust = trusting(US)
    assert str(await callers.of(of_us)) == "cell/3"
    with pytest.raises(NamesNobody, match="no authority"):
        await callers.of(of_eu)


async def test_a_certificate_is_remembered_with_the_chain_it_came_with() -> None:
    callers = Callers(PATTERNS, lambda: eu)
    eu = trusting(EU)
    pem = US.sign(CELL).certificate
    with pytest.raises(NamesNobody, match="no authority"):
        await callers.of(context(pem))
    assert str(await callers.of(context(pem, EU.vouch_for(US)))) == "cell/3"


@pytest.mark.parametrize("trust", [Trust({}), trusting(EU)])
async def test_an_expired_certificate_outlives_its_connection_by_little(trust: Trust) -> None:
    hours = AFTER_EXPIRY_S / 86_400
    callers = Callers(PATTERNS, lambda: trust)
    late = context(EU.sign(CELL, days=-hours + 0.01).certificate)
    assert str(await callers.of(late)) == "cell/3"
    with pytest.raises(NamesNobody, match="has expired"):
        await callers.of(context(EU.sign(CELL, days=-hours - 0.01).certificate))


async def test_no_certificate_names_nobody() -> None:
    with pytest.raises(NamesNobody):
        await Callers(PATTERNS, lambda: Trust({})).of({})


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CALLERS", 3)
    every = Trust({})
    callers = Callers(PATTERNS, lambda: every)
    for number in range(8):
        name = f"spiffe://eu/cell/{number + 1}"
        assert str(await callers.of(context(EU.sign(name).certificate))) == f"cell/{number + 1}"
        assert len(callers._known) <= 3
