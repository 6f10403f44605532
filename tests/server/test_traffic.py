"""Where the edges ask the classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control_plane.compiler.model import ClassifierAddress
from control_plane.server.traffic import traffic_policy
from control_plane.settings import BadSetting, Settings
from tests.support.certificates import Authority


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"classifier_protocol": "http"}, ("127.0.0.1", 2)),
        ({"classifier_protocol": "grpc"}, ("127.0.0.1", 1)),
        ({"host": "0.0.0.0"}, ("127.0.0.1", 2)),
        ({"host": "192.0.2.1"}, ("192.0.2.1", 2)),
        ({"host": "192.0.2.1", "classifier_protocol": "grpc"}, ("127.0.0.1", 1)),
    ],
)
def test_a_classifier_of_this_process_is_asked_where_it_listens(
    settings: dict[str, Any], address: tuple[str, int]
) -> None:
    policy = traffic_policy(Settings(**settings), grpc_port=1, classifier_port=2)
    assert policy.classifiers == (ClassifierAddress(*address),)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_classifier_elsewhere_is_asked_at_the_configured_port(protocol: str) -> None:
    settings = Settings(classifier_protocol=protocol, classifier_port=4711)
    policy = traffic_policy(settings, grpc_port=0, classifier_port=0)
    assert policy.classifiers == (ClassifierAddress("127.0.0.1", 4711),)


def test_an_edge_on_a_named_host_listens_on_its_address() -> None:
    policy = traffic_policy(Settings(edge_host="localhost"), grpc_port=1, classifier_port=2)
    assert policy.edge_host == "127.0.0.1"
    assert traffic_policy(Settings(edge_ipv6=False), grpc_port=1, classifier_port=2).ipv6 is False


@pytest.mark.parametrize(
    ("name", "checked"),
    [(None, ("127.0.0.1", True)), ("c.example", ("c.example", False)), ("::1", ("::1", True))],
)
def test_envoys_check_the_classifiers_certificate_by_authority_and_name(
    tmp_path: Path, name: str | None, checked: tuple[str, bool]
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(Authority().pem)
    settings = Settings(roles=("xds",), classifier_tls_ca=file, classifier_tls_name=name)
    tls = traffic_policy(settings, grpc_port=1, classifier_port=0).classifier_tls
    assert tls is not None
    assert ((tls.name, tls.is_ip), tls.authorities) == (checked, file.read_text())


def test_authorities_that_are_none_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    settings = Settings(roles=("xds",), classifier_tls_ca=file)
    for content in (None, b"nonsense", b"\xff"):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(BadSetting, match=r"classifier_tls_ca: .*ca.pem can't be used"):
            traffic_policy(settings, grpc_port=1, classifier_port=0)
