"""Which tokens name a caller: those that the issuer has signed for us, now, and no others."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control_plane.api.oidc.provider import Provider
from control_plane.api.oidc.refusal import NOT_VALID, NoKeys, NoScope, OidcRefusal
from control_plane.api.oidc.verifier import MAX_TOKEN, OidcVerifier, is_jwt
from control_plane.topology import Scope
from tests.api.oidc.issuer import (
    EC_KEY,
    ED_KEY,
    KEYS,
    OTHER_RSA_KEY,
    RSA_KEY,
    Counts,
    claims,
    jwk,
    jwks,
    provider,
    public_pem,
    raw_token,
    token,
)

NOW = int(time.time())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jwks.json").write_bytes(KEYS)
    return tmp_path


def verifier(folder: Path, **more: Any) -> OidcVerifier:
    made: Provider = provider(str(folder / "jwks.json"), **more)
    return OidcVerifier(made, Counts())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"algorithm": "PS256"},
        {"key": EC_KEY, "algorithm": "ES256", "kid": "e"},
        {"key": ED_KEY, "algorithm": "EdDSA", "kid": "d"},
        {"kid": None},
        {"aud": ["other", "cellway"]},
        {"headers": {"typ": "at+jwt"}},
        {"exp": NOW - 100, "iat": NOW - 400},
        {"nbf": NOW + 100},
        {"iat": None},
    ],
)
async def test_a_token_of_the_issuer_s_names_its_caller(
    folder: Path, options: dict[str, Any]
) -> None:
    caller = await verifier(folder, clock_skew_s=300).caller_of(token(**options))
    assert (caller.name, caller.scope) == ("oidc:alice@example.com", Scope.OPERATOR)
    again = await verifier(folder).caller_of(token(email="renamed@example.com"))
    assert again.id == caller.id != ""
    other = await verifier(folder).caller_of(token(sub="user-2"))
    assert other.id != caller.id


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key": OTHER_RSA_KEY}, NOT_VALID),
        ({"kid": "e"}, NOT_VALID),
        ({"kid": "unknown"}, NOT_VALID),
        ({"algorithm": "RS384"}, NOT_VALID),
        ({"aud": "other"}, "another audience"),
        ({"aud": ["cellway2", "ellway"]}, "another audience"),
        ({"aud": {"cellway": 1}}, "another audience"),
        ({"aud": []}, "no claim 'aud'"),
        ({"iss": "https://issuer.example/"}, "another issuer"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"exp": NOW - 60}, "has expired"),
        ({"nbf": NOW + 3600}, "not valid yet"),
        ({"iat": NOW + 3600}, "not valid yet"),
        ({"exp": "soon"}, NOT_VALID),
        ({"exp": float("inf")}, NOT_VALID),
        ({"exp": None}, "no claim 'exp'"),
        ({"aud": None}, "no claim 'aud'"),
        ({"iss": None}, "no claim 'iss'"),
        ({"sub": None}, "no claim 'sub'"),
        ({"sub": ""}, NOT_VALID),
        ({"sub": "x" * 300}, NOT_VALID),
        ({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, NOT_VALID),
        ({"headers": {"typ": "logout+jwt"}}, NOT_VALID),
        ({"headers": {"typ": 7}}, NOT_VALID),
        ({"headers": {"crit": ["exp"], "exp": 1}}, NOT_VALID),
        ({"email": "x" * MAX_TOKEN}, "longer than"),
    ],
)
async def test_what_the_issuer_has_not_signed_for_us_now_is_refused(
    folder: Path, options: dict[str, Any], says: str
) -> None:
    try:
        made = token(**options)
    except (TypeError, ValueError):
        # PyJWT signs no payload with such a claim, so it is put together by hand.
        body = {k: v for k, v in claims(**options).items() if v is not None}
        head = raw_token({"alg": "RS256", "kid": "r"}, body).rpartition(".")[0]
        signed = jwt.get_algorithm_by_name("RS256").sign(head.encode(), RSA_KEY)
        made = f"{head}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"
    counting = verifier(folder)
    with pytest.raises(OidcRefusal, match=says) as refused:
        await counting.caller_of(made)
    assert "alice" not in str(refused.value)
    assert counting._observer.tokens == ["invalid"]


def hs256_with_the_public_key() -> str:
    head = raw_token({"alg": "HS256", "kid": "r"}, claims()).rpartition(".")[0]
    signed = jwt.get_algorithm_by_name("HS256").sign(head.encode(), public_pem(RSA_KEY))
    return f"{head}.{base64.urlsafe_b64encode(signed).rstrip(b'=').decode()}"


OWN = jwk(OTHER_RSA_KEY, kid="own")
FORGED = {
    "alg none": raw_token({"alg": "none", "kid": "r"}, claims()),
    "alg NONE": raw_token({"alg": "nOnE"}, claims(), b"x"),
    "no alg": raw_token({"kid": "r"}, claims()),
    "alg a list": raw_token({"alg": ["RS256"], "kid": "r"}, claims()),
    "HS256 with the public key": hs256_with_the_public_key(),
    "a key in the header": token(key=OTHER_RSA_KEY, headers={"jwk": OWN}, kid="own"),
    "an address of keys": token(key=OTHER_RSA_KEY, headers={"jku": "http://127.0.0.1:1"}),
    "a certificate": token(key=OTHER_RSA_KEY, headers={"x5c": ["AAAA"], "x5u": "http://x"}),
    "kid a path": token(kid="../../dev/null"),
    "kid no text": raw_token({"alg": "RS256", "kid": 7}, claims(), b"x"),
    "crit of b64": raw_token({"alg": "RS256", "kid": "r", "b64": False, "crit": ["b64"]}, {}, b"x"),
    "empty parts": "..",
    "no JSON": "AAAA.AAAA.AAAA",
    "deep": f"{base64.urlsafe_b64encode(b'[' * 9000).decode().rstrip('=')}.AAAA.AAAA",
    "no ASCII": "\xff.\xff.\xff",
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_refused_without_a_hint(folder: Path, name: str) -> None:
    for more in ({}, {"algorithms": ("RS256", "RS384", "ES256")}):
        with pytest.raises(OidcRefusal) as refused:
            await verifier(folder, **more).caller_of(FORGED[name])
        assert str(refused.value) == NOT_VALID


async def test_no_key_of_another_kind_verifies_a_token(folder: Path) -> None:
    for algorithm in ("RS256", "PS256"):
        for kid in ("r", "e", "d", None, "x"):
            made = token(key=OTHER_RSA_KEY, algorithm=algorithm, kid=kid)
            with pytest.raises(OidcRefusal):
                await verifier(folder).caller_of(made)


async def test_a_short_rsa_key_is_not_used(folder: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    short = rsa.generate_private_key(65537, 1024)
    (folder / "jwks.json").write_bytes(jwks(jwk(short, kid="r")))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        made = token(key=short)
    with pytest.raises(OidcRefusal, match=NOT_VALID):
        await verifier(folder).caller_of(made)


async def test_a_token_without_a_mapped_scope_is_a_refusal_of_its_own(folder: Path) -> None:
    counting = verifier(folder)
    for groups in (None, [], ["nobody"]):
        with pytest.raises(NoScope, match=r"has no access: .*'groups'"):
            await counting.caller_of(token(groups=groups))
    assert counting._observer.tokens == ["no-scope"] * 3


async def test_without_keys_nobody_can_be_known(tmp_path: Path) -> None:
    with pytest.raises(NoKeys):
        await verifier(tmp_path).caller_of(token())


async def test_skew_is_what_was_configured(folder: Path) -> None:
    strict = verifier(folder, clock_skew_s=0)
    with pytest.raises(OidcRefusal, match="has expired"):
        await strict.caller_of(token(exp=NOW - 20))
    with pytest.raises(OidcRefusal, match="not valid yet"):
        await strict.caller_of(token(nbf=int(time.time()) + 20))


@pytest.mark.parametrize("text", ["", "s3cret", "a.b", "a.b.c.d"])
def test_other_tokens_are_no_jwts(text: str) -> None:
    assert not is_jwt(text)
    assert is_jwt(token())


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
async def test_a_changed_token_is_never_accepted(folder: Path, data: st.DataObject) -> None:
    good = token()
    place = data.draw(st.integers(0, len(good) - 1))
    text = data.draw(st.text(st.characters(max_codepoint=255), max_size=3))
    changed = good[:place] + text + good[place + 1 :]
    if changed == good:
        return
    with pytest.raises(OidcRefusal):
        await verifier(folder).caller_of(changed)
