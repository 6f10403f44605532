"""Where an admin interface is, as Envoy writes it down."""

from __future__ import annotations

import pytest

from control_plane.process.admin_address import AdminAddress


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("/run/a.sock", AdminAddress(socket="/run/a.sock"), "unix:/run/a.sock"),
        ("./a.sock\n", AdminAddress(socket="./a.sock"), "unix:./a.sock"),
        ("127.0.0.1:9901", AdminAddress(port=9901), "http://127.0.0.1:9901"),
        ("[::1]:9901\n", AdminAddress(host="::1", port=9901), "http://[::1]:9901"),
        ("", AdminAddress(), "http://127.0.0.1:0"),
        ("nonsense", AdminAddress(), "http://127.0.0.1:0"),
        ("127.0.0.1:", AdminAddress(), "http://127.0.0.1:0"),
    ],
)
def test_what_envoy_writes_is_read(text: str, address: AdminAddress, shown: str) -> None:
    assert AdminAddress.read(text) == address
    assert str(address) == shown


async def test_its_client_goes_there_whatever_proxy_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
    async with AdminAddress(port=9901).client(1) as client:
        assert str(client.build_request("GET", "/ready").url) == "http://127.0.0.1:9901/ready"
    async with AdminAddress(socket="/run/a.sock").client(1) as client:
        assert str(client.build_request("GET", "/ready").url) == "http://envoy/ready"
