"""Options reach a process as they are."""

from __future__ import annotations

from dataclasses import fields

from control_plane.classifier.options import PortOptions
from control_plane.settings import Settings


def test_what_is_written_is_read() -> None:
    options = PortOptions(100, 50, secret_demanded=False, tls_certificate="c", tls_key="k")
    assert PortOptions.from_text(options.as_text()) == options
    assert PortOptions.from_text("{}") == PortOptions()


def test_each_option_is_a_setting_with_the_same_default() -> None:
    settings, options = Settings(), PortOptions()
    for field in fields(options):
        assert getattr(settings, f"classifier_{field.name}") == getattr(options, field.name)
