"""Turns the settings about traffic into what the compiler takes."""

from __future__ import annotations

import ipaddress
import ssl

from control_plane.compiler.model import ClassifierAddress, ClassifierTLS, TrafficPolicy
from control_plane.process.listening import has_ipv6, numeric, reachable
from control_plane.settings import BadSetting, Settings


def traffic_policy(settings: Settings, *, grpc_port: int, classifier_port: int) -> TrafficPolicy:
    """Return how the edges treat traffic, and where they ask the classifier.

    Args:
        settings: As read.
        grpc_port: Where gRPC listens in this process; 0: nowhere.
        classifier_port: Where the classifier over HTTP listens in this process; 0: nowhere, so
            the edges ask at the port of the settings.

    Raises:
        BadSetting: the file of the classifier's authorities can't be used.
    """
    over_grpc = settings.classifier_protocol == "grpc"
    port = (grpc_port if over_grpc else classifier_port) or settings.classifier_port
    host = settings.grpc_host if over_grpc else settings.host
    address = reachable(host)
    return TrafficPolicy(
        edge_host=numeric(settings.edge_host),
        edge_port=settings.edge_port,
        classifiers=(ClassifierAddress(address, port),),
        classifier_protocol=settings.classifier_protocol,
        classifier_timeout_s=settings.classifier_timeout_s,
        classifier_tls=_classifier_tls(settings, address),
        sends_secret=True,
        cell_idle_timeout_s=settings.cell_idle_timeout_s,
        debug_networks=settings.debug_networks,
        dns_resolvers=settings.dns_resolvers(),
        ipv6=has_ipv6() if settings.edge_ipv6 is None else settings.edge_ipv6,
        edge_cache_entries=settings.edge_cache_entries,
        edge_cache_stale_s=settings.edge_cache_stale_s,
    )


def _classifier_tls(settings: Settings, address: str) -> ClassifierTLS | None:
    """Return how Envoys check the classifier's certificate; None for plaintext."""
    file = settings.classifier_tls_ca
    if file is None:
        return None
    try:
        authorities = file.read_text("ascii")
        ssl.create_default_context(cadata=authorities)
    except (OSError, ValueError) as error:
        raise BadSetting(f"classifier_tls_ca: {file} can't be used: {error}") from error
    name = settings.classifier_tls_name or address
    try:
        return ClassifierTLS(authorities, str(ipaddress.ip_address(name)), is_ip=True)
    except ValueError:
        return ClassifierTLS(authorities, name, is_ip=False)
