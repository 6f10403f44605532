"""Settings that are checked before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

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
