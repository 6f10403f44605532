"""Settings that are checked before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError
from sqlalchemy.engine import make_url

from control_plane.settings import Settings, TokenNeeded, check_exposure


def test_dns_servers_have_a_port_if_they_say_none() -> None:
    servers = ("10.0.0.1", "10.0.0.2:5353", "::1", "[::1]:5353")
    assert Settings(edge_dns_resolvers=servers).dns_resolvers() == (
        ("10.0.0.1", 53),
        ("10.0.0.2", 5353),
        ("::1", 53),
        ("::1", 5353),
    )


@pytest.mark.parametrize(
    "server", ["dns.test", "10.0.0.1:0", "10.0.0.1:x", "[::1]", "", "1.2.3.4:65536"]
)
def test_dns_servers_that_envoy_could_not_ask_are_refused(server: str) -> None:
    with pytest.raises(ValidationError):
        Settings(edge_dns_resolvers=(server,))


def wrong(**given: Any) -> str:
    """What a wrong setting is told."""
    with pytest.raises(ValidationError) as refused:
        Settings(**given)
    return str(refused.value)


@pytest.mark.parametrize("setting", Settings.model_fields)
@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_setting_is_an_error_and_no_default(
    setting: str, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"CELLWAY_{setting.upper()} is empty" in wrong(**{setting: empty})
    monkeypatch.setenv(f"CELLWAY_{setting.upper()}", empty)
    with pytest.raises((ValidationError, SettingsError), match=f"(?i){setting}"):
        Settings()


@pytest.mark.parametrize("token", ["hunter2", "x" * 15, "x" * 1025, "x" * 15 + " ", "\xe4" * 20])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token: str) -> None:
    told = wrong(api_token=token)
    assert "CELLWAY_API_TOKEN needs 16 to 1024" in told
    assert "openssl rand -hex 32" in told
    assert token not in told, "the message does not show it"


def test_the_token_is_read_in_one_place() -> None:
    assert Settings().admin_token is None
    assert Settings(api_token="x" * 16).admin_token == "x" * 16
    check_exposure(Settings(host="0.0.0.0", api_token="x" * 16))
    with pytest.raises(TokenNeeded):
        check_exposure(Settings(host="0.0.0.0"))


@pytest.mark.parametrize("name", ["database_url", "redis_url"])
def test_a_url_with_an_empty_password_is_refused(name: str) -> None:
    scheme = "postgresql" if name == "database_url" else "redis"
    for url in (f"{scheme}://u:@h/0", f"{scheme}://:@h/0"):
        assert f"CELLWAY_{name.upper()} has an empty password" in wrong(**{name: url})
    assert f"CELLWAY_{name.upper()} is no URL" in wrong(**{name: "h:secret"})
    for url in (f"{scheme}://u:p%40@h/0", f"{scheme}://h/0", f"{scheme}://u@h/0"):
        assert getattr(Settings(**{name: url}), name) == url


def test_hosts_of_the_api_are_names_and_addresses() -> None:
    given = ("Cellway.Example.", "10.0.0.7", "0:0::1", "my_host")
    expected = ("cellway.example", "10.0.0.7", "::1", "my_host")
    assert Settings(api_hosts=given).api_hosts == expected
    for host in ("*", "https://h", "h:80", "[::1]", "a b", "*.h", ".h", "h\xf6"):
        assert "without scheme, port or *" in wrong(api_hosts=(host,))


@pytest.mark.parametrize(
    ("written", "hosts", "attributes"),
    [
        ("postgresql://u:p@a,b/d?target_session_attrs=read-write", ("a", "b"), "read-write"),
        ("postgres://a:1,b:2/d?target_session_attrs=primary", ("a:1", "b:2"), "primary"),
        ("postgresql+psycopg://u@a,b:5433", ("a", "b:5433"), None),
    ],
)
def test_a_database_may_have_several_hosts_as_libpq_writes_them(
    written: str, hosts: tuple[str, ...], attributes: str | None
) -> None:
    url = make_url(Settings(database_url=written).database_url)
    assert url.query["host"] == hosts
    assert url.query.get("target_session_attrs") == attributes
    assert url.username == ("u" if "u" in written.partition("//")[2][:1] else None)


@pytest.mark.parametrize(
    "url", ["sqlite:///a,b/c.db", "postgresql://u@h/d?options=a,b", "postgresql:///d?host=a"]
)
def test_other_database_urls_stay_as_they_are(url: str) -> None:
    assert Settings(database_url=url).database_url == url


@pytest.mark.parametrize("url", ["", "no url", "postgresql://h:port/d"])
def test_a_database_url_that_cannot_be_read_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValidationError, match=r"CELLWAY_DATABASE_URL is (no URL|empty)"):
        Settings(database_url=url)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"classifier_tls_certificate": "c"}, "belong together"),
        ({"classifier_tls_key": "k", "roles": ("xds",)}, "belong together"),
        ({"classifier_tls_ca": "a"}, "belong together"),
        (
            {"classifier_tls_certificate": "c", "classifier_tls_key": "k"},
            "classifier_tls_ca is missing",
        ),
        (
            {"classifier_tls_ca": "a", "classifier_protocol": "grpc"},
            "needs classifier_protocol http",
        ),
    ],
)
def test_the_files_of_the_classifiers_tls_belong_together(
    given: dict[str, Any], error: str
) -> None:
    with pytest.raises(ValidationError, match=error):
        Settings(**given)


def test_each_side_of_the_classifiers_tls_needs_its_own_files() -> None:
    assert Settings(roles=("xds",), classifier_tls_ca="a").classifier_tls_ca
    pair = {"classifier_tls_certificate": "c", "classifier_tls_key": "k"}
    assert Settings(roles=("classifier",), **pair).classifier_tls_key


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("CELLWAY_ROLES", "api, xds", ("api", "xds")),
        ("CELLWAY_API_HOSTS", "a.example,b.example", ("a.example", "b.example")),
        ("CELLWAY_API_HOSTS", '["a.example"]', ("a.example",)),
        ("CELLWAY_DEBUG_NETWORKS", "10.0.0.0/8", ("10.0.0.0/8",)),
        ("CELLWAY_ENDPOINT_NETWORKS_DENIED", "10.0.0.0/8,::/0", ("10.0.0.0/8", "::/0")),
        ("CELLWAY_GRPC_CELL_NAME", "x{1,3}", "x{1,3}"),
    ],
)
def test_a_list_in_the_environment_is_words_with_commas_or_json(
    variable: str, text: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(), variable.removeprefix("CELLWAY_").lower()) == expected
