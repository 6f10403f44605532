"""Turns the settings about traffic into what the compiler takes."""

from __future__ import annotations

import ipaddress
import ssl

from control_plane.compiler.model import ClassifierTLS, TrafficPolicy
from control_plane.process.listening import has_ipv6, numeric
from control_plane.server.advertised import Advertised
from control_plane.settings import BadSetting, Settings


def traffic_policy(settings: Settings, *, grpc_port: int, classifier_port: int) -> TrafficPolicy:
    """Return how the edges treat traffic, and where they ask the classifier.

    Args:
        settings: As read.
        grpc_port: Where gRPC listens in this process; 0: nowhere.
        classifier_port: Where the classifier over HTTP listens in this process; 0: nowhere, so
            the edges ask at the port of the settings.

    Raises:
        BadSetting: the classifier's certificates can't be checked.
    """
    told = Advertised.of(settings, grpc_port=grpc_port, classifier_port=classifier_port)
    return TrafficPolicy(
        edge_host=numeric(settings.edge_host),
        edge_port=settings.edge_port,
        classifiers=told.classifiers,
        classifier_protocol=settings.classifier_protocol,
        classifier_timeout_s=settings.classifier_timeout_s,
        classifier_tls=_classifier_tls(settings, {one.host for one in told.classifiers}),
        sends_secret=True,
        cell_idle_timeout_s=settings.cell_idle_timeout_s,
        debug_networks=settings.debug_networks,
        dns_resolvers=settings.dns_resolvers(),
        ipv6=has_ipv6() if settings.edge_ipv6 is None else settings.edge_ipv6,
        edge_cache_entries=settings.edge_cache_entries,
        edge_cache_stale_s=settings.edge_cache_stale_s,
        map_unknown_asked=settings.edge_map_unknown_asked,
    )


def _classifier_tls(settings: Settings, hosts: set[str]) -> ClassifierTLS | None:
    """Return how Envoys check the classifier's certificate; None for plaintext."""
    file = settings.classifier_tls_ca
    if file is None:
        return None
    try:
        authorities = file.read_text("ascii")
        ssl.create_default_context(cadata=authorities)
    except (OSError, ValueError) as error:
        raise BadSetting(f"classifier_tls_ca: {file} can't be used: {error}") from error
    if settings.classifier_tls_name is None and len(hosts) > 1:
        raise BadSetting(
            "classifier_tls_name is missing: Envoys ask classifiers on several hosts, whose "
            "certificates need one name in common"
        )
    name = settings.classifier_tls_name or min(hosts)
    try:
        return ClassifierTLS(authorities, str(ipaddress.ip_address(name)), is_ip=True)
    except ValueError:
        return ClassifierTLS(authorities, name, is_ip=False)
