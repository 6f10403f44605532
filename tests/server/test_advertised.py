"""Which addresses Envoys are told, and that none of them leads a fleet back to itself."""

from __future__ import annotations

from typing import Any

import pytest

from control_plane.server.advertised import Advertised, announcements, check_advertised
from control_plane.settings import BadSetting, Settings

ANY = "0.0.0.0"
OPEN = {"grpc_plaintext_beyond_loopback": True}


def told(**settings: Any) -> tuple[str, list[str]]:
    checked = Settings(**settings)
    check_advertised(checked)
    one = Advertised.of(checked, grpc_port=1, classifier_port=2)
    return one.xds, [str(classifier) for classifier in one.classifiers]


@pytest.mark.parametrize(
    ("settings", "xds", "classifiers"),
    [
        ({}, "127.0.0.1:1", ["127.0.0.1:2"]),
        ({"host": "::1"}, "[::1]:1", ["[::1]:2"]),
        # Without TLS, gRPC is on loopback: no Envoy of another machine can be misled.
        ({"host": ANY}, "127.0.0.1:1", ["127.0.0.1:2"]),
        ({"host": ANY, "advertise_host": "10.0.0.1"}, "127.0.0.1:1", ["10.0.0.1:2"]),
        ({"host": "10.0.0.1", **OPEN}, "10.0.0.1:1", ["10.0.0.1:2"]),
        ({"host": ANY, "advertise_host": "cp.test", **OPEN}, "cp.test:1", ["cp.test:2"]),
        ({"host": "::", "advertise_host": "fd00::1", **OPEN}, "[fd00::1]:1", ["[fd00::1]:2"]),
        ({"host": ANY, "advertise_host": "127.0.0.1", **OPEN}, "127.0.0.1:1", ["127.0.0.1:2"]),
        (
            {"host": ANY, "advertise_host": "10.0.0.1", "classifier_protocol": "grpc", **OPEN},
            "10.0.0.1:1",
            ["10.0.0.1:1"],
        ),
        (
            {
                "host": ANY,
                "xds_address": "lb:9",
                "classifier_addresses": ("a:3", "[::2]:4"),
                **OPEN,
            },
            "lb:9",
            ["a:3", "[::2]:4"],
        ),
    ],
)
def test_envoys_are_told_what_they_can_reach(
    settings: dict[str, Any], xds: str, classifiers: list[str]
) -> None:
    assert told(**settings) == (xds, classifiers)


@pytest.mark.parametrize("host", [ANY, "::"])
@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ({}, "the classifier and xDS"),
        ({"xds_address": "lb:1"}, "the classifier"),
        ({"classifier_addresses": ("a:1",)}, "xDS"),
    ],
)
def test_a_fleet_without_an_address_is_refused(
    host: str, more: dict[str, Any], missing: str
) -> None:
    with pytest.raises(BadSetting, match=f"not reach {missing} at .*--advertise-host"):
        told(host=host, **OPEN, **more)
    told(host=host, roles=("api", "classifier", "topology"), **OPEN, **more)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"advertise_host": ANY}, "advertise_host: nobody can connect to 0.0.0.0"),
        ({"advertise_host": "::"}, "nobody can connect to ::"),
        ({"advertise_host": "10.0.0.1:18000"}, "neither an IP address nor a DNS name"),
        ({"advertise_host": "http://cp"}, "neither an IP address nor a DNS name"),
        ({"advertise_host": "a b"}, "neither an IP address nor a DNS name"),
        ({"xds_address": "10.0.0.1"}, "xds_address: '10.0.0.1' is not host:port"),
        ({"xds_address": "10.0.0.1:0"}, "is not host:port"),
        ({"xds_address": "fd00::1:18000"}, "in brackets"),
        ({"classifier_addresses": ("a:1", "")}, "classifier_addresses: '' is not host:port"),
        ({"classifier_addresses": ("0.0.0.0:18001",)}, "nobody can connect"),
    ],
)
def test_an_address_that_can_t_work_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSetting) as refused:
        told(**settings)
    assert says in str(refused.value)


def test_the_start_says_what_a_fleet_is_told() -> None:
    def lines(**settings: Any) -> list[str]:
        read = Settings(**settings)
        return list(announcements(read, Advertised.of(read, grpc_port=1, classifier_port=2)))

    assert lines() == []
    assert lines(host="10.0.0.1", edge_host=ANY, **OPEN) == [
        "Envoys get xDS at 10.0.0.1:1, and ask the classifier at 10.0.0.1:2"
    ]
    assert "--edge-host" in lines(host="10.0.0.1", **OPEN)[1]
