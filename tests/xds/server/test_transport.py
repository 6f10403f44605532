"""The options of the port: gRPC knows them, and the pings of our clients are allowed."""

from __future__ import annotations

import json
from pathlib import Path

from grpc._cython import cygrpc

from control_plane.compiler.bootstrap import FleetMember, compile_bootstrap
from control_plane.edge_agent import upstream
from control_plane.edge_agent.upstream import KEEPALIVE_S
from control_plane.xds.server.transport import MIN_CLIENT_PING_INTERVAL_S, grpc_options


def test_14_envoys_and_agents_ping_at_most_half_as_often_as_the_servers_allow() -> None:
    document = json.loads(compile_bootstrap(FleetMember("n", "edge", ("127.0.0.1", 1), "/a")))
    (xds,) = document["staticResources"]["clusters"]
    (options,) = xds["typedExtensionProtocolOptions"].values()
    http2 = options["explicitHttpConfig"]["http2ProtocolOptions"]
    interval = float(http2["connectionKeepalive"]["interval"].rstrip("s"))
    for often in (interval, KEEPALIVE_S):
        assert 2 * MIN_CLIENT_PING_INTERVAL_S <= often <= 60


def test_14_grpc_knows_every_option_that_it_is_given() -> None:
    # It passes over what it does not know, without a word.
    known = Path(cygrpc.__file__).read_bytes()
    for name, _ in (*grpc_options(), *upstream._OPTIONS):
        assert name.encode() + b"\0" in known, name
