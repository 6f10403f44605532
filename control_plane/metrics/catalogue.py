"""The metrics that only the server has: their names, and what they mean.

The metrics of the classifier are in `classifier`, because its processes have them too. Those of
gRPC calls are in `grpc_api`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""The buckets of what takes from half a millisecond to ten seconds."""
MEANINGS: Mapping[str, str] = {
    "cellway_revision": "Newest published revision",
    "cellway_publication_refused": "1 while a guard keeps the newest revision from the fleet",
    "cellway_ruleset_active": "1 if a ruleset routes, 0 if none does",
    "cellway_fleet_nodes": "Envoys by state",
    "cellway_fleet_outdated_nodes": "Connected Envoys that are older than the fleet needs",
    "cellway_xds_nacks_total": "Resources refused",
    "cellway_xds_push_seconds": (
        "Time to work out and send what one node is to get of a new snapshot"
    ),
    "cellway_propagation_seconds": (
        "Commit of a revision, as heard of here, to its last acknowledgement by a node that was "
        "connected when it was published; given up after 60 s"
    ),
    "cellway_cell_up": (
        "1 if a cell answers its health checks; drained and retired ones are left out"
    ),
    "cellway_drain_share": (
        "Percent of its usual share of the free traffic that a cell gets; 100 without a drain"
    ),
    "cellway_cell_edges": (
        "Reporting Envoys by what they hold of a cell: some endpoint healthy (up), none (down)"
    ),
    "cellway_classifier_edges": (
        "Reporting Envoys by whether they can reach a classifier (up) or none (down)"
    ),
    "cellway_cell_endpoints_denied": (
        "Declared endpoints that are not published, because no cell may have them"
    ),
    "cellway_edge_reporters": "Envoys that report which endpoints they hold healthy",
    "cellway_edge_reports_refused_total": (
        "Streams of such reports that were ended for breaking the protocol or a bound"
    ),
    "cellway_edge_map_revision": (
        "Revision up to which the table of owners that is served to edges is complete"
    ),
    "cellway_edge_map_lag_seconds": (
        "Longest time for which the table of a connected edge was not known to be current"
    ),
    "cellway_edge_map_readers": (
        "Edges and agents that follow the owners, by whether their table is whole or loading"
    ),
    "cellway_edge_map_refused_total": (
        "Streams of owners that were ended for breaking the protocol or a bound"
    ),
    "cellway_claims": "Claims",
    "cellway_leases": "Updates begun and not ended",
    "cellway_moves": "Moves of tenants by state",
    "cellway_lease_oldest_seconds": "Age of the oldest open lease",
    "cellway_sequence_used_ratio": "Share of its ids that a cell has reported as used",
    "cellway_sequences_restored": "1 while the database is older than the sequences' mark file",
    "cellway_background_restarts_total": "Background tasks that failed and were started again",
    "cellway_api_refused_total": (
        "Requests to the REST API that were refused at the door: unknown callers, other hosts, "
        "other sites' pages, wrong media types, too many streams or waits, bounds"
    ),
    "cellway_event_loop_lag_seconds": "How late the event loop was, 100 times a second",
    "cellway_event_loop_own_lag_seconds": (
        "How much of that the process itself was busy; the rest took other programs"
    ),
    "cellway_tls_unusable": (
        "1 while the TLS files of a port can't be used as they are, and the last good ones serve"
    ),
    "cellway_oidc_tokens_total": "JWTs of the OIDC issuer at the REST API, by what came of them",
    "cellway_oidc_key_fetches_total": "Fetches of the OIDC issuer's keys",
    "cellway_database_readable": (
        "1 if this scrape could read the database; 0: what comes from there is of an earlier one"
    ),
    "cellway_database_writable": "1 while writes to the database work, 0 while they fail",
    "cellway_db_log_bytes": "Size of the log beside the SQLite file (-wal); 0 on PostgreSQL",
    "cellway_db_seconds": "Time of a statement in the database",
    "cellway_classifier_workers": "Classifier processes: wanted, and running without hanging",
    "cellway_classifier_restarts_total": "Classifier processes that died and were started again",
}


def gauge(registry: CollectorRegistry, name: str, *labels: str) -> Gauge:
    """Return a new gauge with the meaning of its name."""
    return Gauge(name, MEANINGS[name], labels, registry=registry)


def counter(registry: CollectorRegistry, name: str, *labels: str) -> Counter:
    """Return a new counter with the meaning of its name."""
    return Counter(name, MEANINGS[name], labels, registry=registry)


def histogram(
    registry: CollectorRegistry, name: str, *labels: str, buckets: Sequence[float] = SECONDS
) -> Histogram:
    """Return a new histogram with the meaning of its name; the buckets are in seconds."""
    return Histogram(name, MEANINGS[name], labels, buckets=buckets, registry=registry)
