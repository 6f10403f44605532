"""A real control plane bounds what half-sent requests hold, and serves its API over TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from control_plane.api.middleware.body_limit import MAX_BODY_BYTES
from control_plane.api.middleware.held_bodies import MAX_HELD_BYTES_OF_CALLER
from tests.cli.cellway_command import Cellway
from tests.support.certificates import Authority, replace
from tests.support.conditions import wait_until
from tests.support.plane_process import PlaneProcess
from tests.support.raw_http import RawConnection

HEAD = f"POST /v1/claims HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {MAX_BODY_BYTES}\r\n\r\n".encode()


@pytest.fixture(autouse=True)
def _no_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELLWAY_HEALTH_INTERVAL_S", "0")


def resident_mib(plane: PlaneProcess) -> int:
    status = Path(f"/proc/{plane.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) >> 10


def test_half_sent_bodies_hold_little_and_keep_nobody_else_out(tmp_path: Path) -> None:
    with PlaneProcess(tmp_path, "--classifier-workers", "0") as plane:
        before = resident_mib(plane)
        with contextlib.ExitStack() as stack:
            for _ in range(150):
                connection = stack.enter_context(RawConnection(("127.0.0.1", plane.api_port)))
                with contextlib.suppress(ConnectionError):
                    connection.send(HEAD)
                    connection.send(b"x" * (MAX_BODY_BYTES - 1))
            refused = 'cellway_api_refused_total{reason="too-many-body-bytes"} '
            expected = f"{refused}{150 - MAX_HELD_BYTES_OF_CALLER // MAX_BODY_BYTES}.0"
            wait_until(lambda: expected in plane.api.get("/metrics").text)
            assert resident_mib(plane) - before < 150
            answer = plane.api.post("/v1/claims", json={})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        wait_until(lambda: plane.api.post("/v1/claims", json={}).status_code == 422)


def test_the_command_talks_to_an_api_over_tls(tmp_path: Path) -> None:
    authority = Authority()
    for name, names in (("server", ("localhost",)), ("client", ())):
        pair = authority.sign(dns=names)
        (tmp_path / f"{name}.crt").write_bytes(pair.certificate)
        (tmp_path / f"{name}.key").write_bytes(pair.key)
        (tmp_path / f"{name}.pem").write_bytes(pair.certificate + pair.key)
    ca = tmp_path / "ca.crt"
    ca.write_bytes(authority.pem)
    options = [
        *("--api-tls-certificate", f"{tmp_path}/server.crt"),
        *("--api-tls-key", f"{tmp_path}/server.key"),
        *("--api-tls-client-ca", str(ca)),
    ]
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(tmp_path / "client.pem")
    plane = PlaneProcess(tmp_path, "--classifier-workers", "0", *options)
    url = f"https://localhost:{plane.api_port}"
    plane.api.close()
    plane.api = httpx.Client(base_url=url, verify=context, timeout=30, trust_env=False)
    known = {"CELLWAY_SERVER_CA": str(ca), "CELLWAY_CLIENT_CERTIFICATE": f"{tmp_path}/client.pem"}
    with plane:
        assert f"API         https://127.0.0.1:{plane.api_port}" in plane.log_path.read_text()
        listed = Cellway(url, **known)("cells", "list", "-o", "json")
        assert (listed.returncode, listed.stdout) == (0, "[]\n")
        stranger = Cellway(url, CELLWAY_SERVER_CA=str(ca))("cells", "list")
        assert (stranger.returncode, "does not answer as an API does" in stranger.stderr) == (
            1,
            True,
        ), stranger.stderr
        distrusting = Cellway(url)("cells", "list")
        assert "CERTIFICATE_VERIFY_FAILED" in distrusting.stderr
        missing = Cellway(url, CELLWAY_SERVER_CA=f"{tmp_path}/absent")("cells", "list")
        assert "absent can't be used" in missing.stderr
        renewed = authority.sign(dns=("localhost",))
        before = serial(plane, context)
        replace(tmp_path / "server.crt", renewed.certificate)
        replace(tmp_path / "server.key", renewed.key)
        assert serial(plane, context) != before


def serial(plane: PlaneProcess, context: ssl.SSLContext) -> object:
    """Return the serial number of the certificate that a new connection is shown."""
    with (
        socket.create_connection(("127.0.0.1", plane.api_port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        certificate = connection.getpeercert()
        assert certificate
        return certificate["serialNumber"]
