"""Which name a certificate carries, for every kind of certificate that an authority may sign."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.grpc_api.auth.svid import MAX_NAME, NamesNobody, read_svid
from tests.support.certificates import Authority

AUTHORITY = Authority()
ADMIN = "spiffe://cellway/admin"
URI, DNS, MAIL = x509.UniformResourceIdentifier, x509.DNSName, x509.RFC822Name
USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


def test_other_kinds_of_names_beside_the_uri_mean_nothing() -> None:
    names = [DNS("spiffe://other/admin"), URI(ADMIN), MAIL("a@b.example"), DNS("*")]
    svid = read_svid(AUTHORITY.sign_names(names).certificate)
    assert (svid.name, svid.trust_domain) == (ADMIN, "cellway")


def test_a_uri_that_is_no_spiffe_id_is_a_name_without_trust_domain() -> None:
    svid = read_svid(AUTHORITY.sign("https://cells.example/3?a=b").certificate)
    assert (svid.name, svid.trust_domain) == ("https://cells.example/3?a=b", None)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([], "no URIs"),
        ([DNS(ADMIN)], "no URIs"),
        ([MAIL(ADMIN)], "no URIs"),
        ([URI(ADMIN), URI("spiffe://cellway/cell/3")], "2 URIs"),
        ([URI(ADMIN), URI(ADMIN)], "2 URIs"),
        ([URI(ADMIN), URI("https://x.example")], "2 URIs"),
        ([URI(f"{ADMIN}\0")], "no name"),
        ([URI(f"{ADMIN}\0.evil.example")], "no name"),
        ([URI(f"\n{ADMIN}")], "no name"),
        ([URI(f"{ADMIN}\x7f")], "no name"),
        ([URI(f"{ADMIN} ")], "no name"),
        ([URI("")], "no name"),
        ([URI("u:" + "a" * MAX_NAME)], "no name"),
        ([URI("SPIFFE://cellway/admin")], "no SPIFFE id"),
        ([URI("spiffe:cellway/admin")], "no SPIFFE id"),
        ([URI("spiffe://Cellway/admin")], "no SPIFFE id"),
        ([URI("spiffe://cellway:1/admin")], "no SPIFFE id"),
        ([URI("spiffe://u@cellway/admin")], "no SPIFFE id"),
        ([URI("spiffe:///admin")], "no SPIFFE id"),
        ([URI("spiffe://cellway")], "no SPIFFE id"),
        ([URI("spiffe://cellway/admin/")], "no SPIFFE id"),
        ([URI("spiffe://cellway//admin")], "no SPIFFE id"),
        ([URI("spiffe://cellway/x/../admin")], "no SPIFFE id"),
        ([URI("spiffe://cellway/%61dmin")], "no SPIFFE id"),
        ([URI("spiffe://cellway/admin?x")], "no SPIFFE id"),
        ([URI("spiffe://cellway/admin#x")], "no SPIFFE id"),
    ],
)
def test_certificates_that_name_nobody(names: list[x509.GeneralName], why: str) -> None:
    with pytest.raises(NamesNobody, match=why):
        read_svid(AUTHORITY.sign_names(names, common=ADMIN).certificate)


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=True, path_length=0),
        x509.KeyUsage(**USAGE | {"key_cert_sign": True}),
        x509.KeyUsage(**USAGE | {"crl_sign": True}),
    ],
)
def test_an_authority_is_no_caller(extension: x509.ExtensionType) -> None:
    with pytest.raises(NamesNobody, match="an authority's"):
        read_svid(AUTHORITY.sign_names([URI(ADMIN)], extension).certificate)


def test_a_certificate_as_spire_issues_it() -> None:
    usage = x509.KeyUsage(**USAGE | {"digital_signature": True})
    leaf = x509.BasicConstraints(ca=False, path_length=None)
    assert read_svid(AUTHORITY.sign_names([URI(ADMIN)], usage, leaf).certificate).name == ADMIN


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate_names_nobody(pem: bytes) -> None:
    with pytest.raises(NamesNobody, match="can't be read"):
        read_svid(pem)


ASCII = st.text(st.characters(max_codepoint=127), max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(ASCII.map(URI), ASCII.map(DNS)), max_size=3), ASCII)
def test_a_name_is_the_one_uri_of_visible_characters_in_full(
    others: list[x509.GeneralName], tail: str
) -> None:
    uri = f"spiffe://cellway/cell/3{tail}"
    single = not any(isinstance(other, URI) for other in others)
    pem = AUTHORITY.sign_names([*others, URI(uri)]).certificate
    try:
        name = read_svid(pem).name
    except NamesNobody:
        return
    assert single
    assert name == uri
    assert name.isprintable()
    assert " " not in name
