"""A client of an Envoy's admin interface for tests that don't run in an event loop."""

from __future__ import annotations

import httpx

from control_plane.process.admin_address import AdminAddress


def sync_client(address: AdminAddress, timeout_s: float = 20.0) -> httpx.Client:
    """Return a client of the admin interface; used with `with`."""
    base = "http://envoy" if address.socket else str(address)
    transport = httpx.HTTPTransport(uds=address.socket or None)
    return httpx.Client(base_url=base, transport=transport, timeout=timeout_s, trust_env=False)
