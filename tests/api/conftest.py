"""Databases as the topology's tests have them."""

from __future__ import annotations

from tests.topology.conftest import empty_url, engine, migrated_file, server, url

__all__ = ["empty_url", "engine", "migrated_file", "server", "url"]
