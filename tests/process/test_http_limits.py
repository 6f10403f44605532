"""Connections are counted by address, and those over a bound are refused."""

from __future__ import annotations

from control_plane.process.http_limits import HttpLimits, OpenConnections


def test_one_address_can_t_take_all_connections() -> None:
    connections = OpenConnections(HttpLimits(connections=3, connections_of_peer=2), lambda _: None)
    assert [connections.enter("a"), connections.enter("a")] == ["", ""]
    assert connections.enter("a") == "2 connections of a are open"
    connections.leave("a")
    assert connections.enter("b") == ""
    assert connections.enter("c") == "3 connections are open"
    for peer in "caab":
        connections.leave(peer)
    assert connections.enter("c") == ""
