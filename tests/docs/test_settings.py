"""Every setting is documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_plane.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"
TEXT = "".join((DOCS / page).read_text() for page in ("operating.md", "topology-grpc.md"))
SHORTENED = {"grpc_tls_key": "`_KEY`", "grpc_tls_client_ca": "`_CLIENT_CA`"}


@pytest.mark.parametrize("setting", Settings.model_fields)
def test_a_page_names_the_setting(setting: str) -> None:
    assert SHORTENED.get(setting, f"`CELLWAY_{setting.upper()}") in TEXT
