"""Certificates and keys that can't be used fire their alerts; the runbooks end them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest

from control_plane.api.oidc import key_source
from control_plane.edge_agent import agent
from control_plane.edge_agent.agent import AgentSettings
from control_plane.edge_agent.channels import ClientTls
from tests.api.oidc.issuer import AUDIENCE, ISSUER, KEYS, token
from tests.deploy.plane_thread import TOKEN, PlaneThread
from tests.deploy.runbook import Runbook
from tests.deploy.watch import Watch
from tests.support.certificates import Authority, replace
from tests.support.loop_thread import LoopThread
from tests.support.plane import add_cell, route_all
from tests.support.ports import unused_port

TWO_HOURS_S = 7200.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def renew(folder: Path, authority: Authority, name: str, *parts: str) -> None:
    """Write the certificate, the key and the authority that some program keeps, or some of them."""
    pair = authority.sign(f"spiffe://cellway/node/edge/{name}", dns=("localhost",))
    for part, content in (("crt", pair.certificate), ("key", pair.key), ("ca", authority.pem)):
        if part in parts:
            replace(folder / f"{name}.{part}", content)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[PlaneThread]:
    folder = tmp_path_factory.mktemp("keys")
    renew(folder, authority, "server", "crt", "key", "ca")
    (folder / "jwks.json").write_bytes(KEYS)
    settings = {
        "grpc_tls_certificate": folder / "server.crt",
        "grpc_tls_key": folder / "server.key",
        "grpc_tls_client_ca": folder / "server.ca",
        "oidc_issuer": ISSUER,
        "oidc_audiences": (AUDIENCE,),
        "oidc_jwks": str(folder / "jwks.json"),
        "oidc_scopes": {"operator": ("sre",)},
    }
    with pytest.MonkeyPatch.context() as patch, PlaneThread(folder, **settings) as running:
        patch.setattr(key_source, "MIN_INTERVAL_S", 0.0)
        add_cell(running.plane.topology)
        route_all(running.plane.topology)
        yield running


def begun(metrics: Callable[[], str]) -> Watch:
    """Return a watch over what is well."""
    watch = Watch(metrics)
    assert watch.is_calm()
    watch.scrape()
    return watch


def mend_tls(page: Runbook, folder: Path, authority: Authority, name: str) -> None:
    """Follow the page from a certificate whose key is missing to a good pair."""
    certificate, key = str(folder / f"{name}.crt"), str(folder / f"{name}.key")
    shown = page.follow("openssl x509 -noout -subject -enddate", CERTIFICATE=certificate)
    assert "notAfter" in shown
    public = page.follow("openssl x509 -noout -pubkey", CERTIFICATE=certificate)
    assert public != page.follow("openssl pkey", KEY=key)
    renew(folder, authority, name, "crt", "key")
    assert page.follow("openssl x509 -noout -pubkey", CERTIFICATE=certificate) == page.follow(
        "openssl pkey", KEY=key
    )


def test_a_certificate_without_its_key(plane: PlaneThread, authority: Authority) -> None:
    folder = plane.plane.settings.data_dir
    watch = begun(plane.scraped)
    renew(folder, authority, "server", "crt")
    assert watch.sees("CellwayTlsNotReloaded") == {"CellwayTlsNotReloaded"}
    watch.scrape(TWO_HOURS_S)
    assert watch.holds("CellwayTlsNotReloaded"), "the fault is still there"
    page = Runbook("tls-not-reloaded", plane.url)
    where = {"HOST": "127.0.0.1", "PORT": str(plane.plane.ports.grpc)}
    assert "notAfter" in page.follow("openssl s_client", **where)
    mend_tls(page, folder, authority, "server")
    watch.ends("CellwayTlsNotReloaded")


class AgentThread(LoopThread):
    """An agent in a thread."""

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__()
        self._settings = settings

    def lives(self) -> AbstractAsyncContextManager[object]:
        return agent.running(self._settings)


def test_an_agents_certificate_without_its_key(
    plane: PlaneThread, authority: Authority, tmp_path: Path
) -> None:
    renew(tmp_path, authority, "n1", "crt", "key", "ca")
    tls = ClientTls(tmp_path / "n1.crt", tmp_path / "n1.key", tmp_path / "n1.ca", "localhost")
    port = unused_port()
    target = f"127.0.0.1:{plane.plane.ports.grpc}"
    url = f"http://127.0.0.1:{port}/metrics"
    settings = AgentSettings(target, tmp_path / "snapshots", tls=tls, metrics_port=port)

    client = httpx.Client(trust_env=False)

    def scraped() -> str:
        # Prometheus scrapes the control plane, too.
        return plane.scraped() + client.get(url).text

    with client, AgentThread(settings):
        watch = begun(scraped)
        renew(tmp_path, authority, "n1", "crt")
        assert watch.sees("CellwayTlsNotReloaded") == {"CellwayTlsNotReloaded"}
        page = Runbook("tls-not-reloaded", plane.url)
        mend_tls(page, tmp_path, authority, "n1")
        watch.ends("CellwayTlsNotReloaded")


def test_an_issuer_whose_keys_can_t_be_read(plane: PlaneThread) -> None:
    keys = plane.plane.settings.data_dir / "jwks.json"
    assert plane.get("/v1/cells", token()).status_code == 200
    watch = begun(plane.scraped)
    keys.write_bytes(b"moved")
    assert plane.get("/v1/cells", token(kid="new")).status_code == 401
    assert watch.sees("CellwayOidcKeysFail") == {"CellwayOidcKeysFail"}
    page = Runbook("oidc-keys", plane.url, CELLWAY_OIDC_JWKS=keys.as_uri(), CELLWAY_TOKEN=TOKEN)
    assert "moved" in page.follow("curl -sS")
    keys.write_bytes(KEYS)
    assert plane.get("/v1/cells", token(kid="new")).status_code == 401
    watch.ends("CellwayOidcKeysFail")
