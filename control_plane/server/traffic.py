"""Turns the settings about traffic into what the compiler takes."""

from __future__ import annotations

from control_plane.compiler.model import TrafficPolicy
from control_plane.process.listening import has_ipv6, numeric
from control_plane.server.advertised import Advertised
from control_plane.settings import Settings


def traffic_policy(settings: Settings, *, grpc_port: int, classifier_port: int) -> TrafficPolicy:
    """Return how the edges treat traffic, and where they ask the classifier.

    Args:
        settings: As read.
        grpc_port: Where gRPC listens in this process; 0: nowhere.
        classifier_port: Where the classifier over HTTP listens in this process; 0: nowhere, so
            the edges ask at the port of the settings.
    """
    told = Advertised.of(settings, grpc_port=grpc_port, classifier_port=classifier_port)
    return TrafficPolicy(
        edge_host=numeric(settings.edge_host),
        edge_port=settings.edge_port,
        classifiers=told.classifiers,
        classifier_protocol=settings.classifier_protocol,
        classifier_timeout_s=settings.classifier_timeout_s,
        cell_idle_timeout_s=settings.cell_idle_timeout_s,
        debug_networks=settings.debug_networks,
        dns_resolvers=settings.dns_resolvers(),
        ipv6=has_ipv6() if settings.edge_ipv6 is None else settings.edge_ipv6,
        edge_cache_entries=settings.edge_cache_entries,
        edge_cache_stale_s=settings.edge_cache_stale_s,
    )
