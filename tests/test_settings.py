"""Settings that are checked before anything starts."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from control_plane.settings import Settings


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
    with pytest.raises(ValidationError, match="give sqlite:///FILE or postgresql://"):
        Settings(database_url=url)
