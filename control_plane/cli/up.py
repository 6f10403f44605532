"""``cellway up``: the control plane and an Envoy, on this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from control_plane.cli.options import port_option, with_options
from control_plane.cli.serve import PlaneOptions


@dataclass(frozen=True, kw_only=True)
class UpOptions(PlaneOptions):
    """Options of ``cellway up``."""

    envoy_admin_port: Annotated[
        int | None,
        port_option("Envoy's admin interface, on loopback; default: none, but a Unix socket"),
    ] = None
    envoy_stats_port: Annotated[
        int | None, port_option("Envoy's /stats/prometheus alone, on loopback; default: none")
    ] = None
    edge_module: Annotated[
        str | None,
        typer.Option(
            help="cellway's module in Envoy (the edge map): auto (the default), on or off"
        ),
    ] = None
    drain_s: Annotated[
        float | None,
        typer.Option(min=0, help="seconds to wait at the end for running requests; default: 20"),
    ] = None


@with_options(UpOptions)
def up(options: UpOptions) -> None:
    """Run everything on this machine, an Envoy included, until a signal comes.

    A second signal ends it at once, without waiting for running requests. An option that is not
    given is read from its variable, such as CELLWAY_EDGE_PORT, or from cellway.toml.
    """
    from control_plane.cli.local.settings import settings_of
    from control_plane.cli.local.system import up_here

    up_here(settings_of(**asdict(options)))
