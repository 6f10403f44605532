"""The names that several rooms, Envoy and clients must spell alike, and the limits they share.

Everything here is plain text or a number, so this module imports nothing and every room may import
it. Envoy's Lua scripts (`envoy/*.lua`) spell the same headers; they can't import them.
"""

from __future__ import annotations

import re

# Type URLs of the resources that xDS serves, by the usual names of their discovery services.
TYPE_URL = "type.googleapis.com/"
"""The prefix of every type URL."""
CDS = f"{TYPE_URL}envoy.config.cluster.v3.Cluster"
EDS = f"{TYPE_URL}envoy.config.endpoint.v3.ClusterLoadAssignment"
LDS = f"{TYPE_URL}envoy.config.listener.v3.Listener"
RDS = f"{TYPE_URL}envoy.config.route.v3.RouteConfiguration"
ECDS = f"{TYPE_URL}envoy.config.core.v3.TypedExtensionConfig"
SDS = f"{TYPE_URL}envoy.extensions.transport_sockets.tls.v3.Secret"
RTDS = f"{TYPE_URL}envoy.service.runtime.v3.Runtime"
AUTHORIZATION_SERVICE = "envoy.service.auth.v3.Authorization"
"""ext_authz over gRPC."""
OWNERS_SERVICE = "cellway.edge.v1.Owners"
"""The owners stream (`control_plane.owners`)."""

# Resources that the compiler makes, and the clusters of a bootstrap.
OWN_CLUSTERS = "cellway:"
"""The names of clusters that belong to no cell begin with this."""
CLASSIFIER_CLUSTER = "cellway:classifier"
XDS_CLUSTER = "cellway:xds"
ADMIN_CLUSTER = "cellway:admin"
STATS_LISTENER = "cellway:stats"
LISTENER_NAME = "cellway:edge"
ROUTES_NAME = "cellway:routes"
EDGE_SECRET_NAME = "cellway:edge-secret"  # noqa: S105 - a name, no secret
"""The secret (SDS) that Envoy shows the classifier in `EDGE_SECRET_HEADER`."""
CELL_CLUSTERS = "cell:"
"""The names of cells' clusters begin with this."""

# Filters. Each one's name is also that of the resource that configures it, if there is one.
DEBUG_FILTER = "cellway.debug"
HYGIENE_FILTER = "cellway.header_hygiene"
EPOCHS_FILTER = "cellway.epochs"
"""Also the name of the filter state object that it sets."""
CACHE_FILTER = "cellway.edge_cache"
AGAIN_FILTER = "cellway.ask_again"
MISDIRECTED_FILTER = "cellway.misdirected"
EMPTY_421_FILTER = "cellway.empty_421"
AFTER_CLASSIFIER_FILTER = "cellway.after_classifier"
CLASSIFIER_TIER_FILTER = "cellway.classifier_tier"
OWNERS_FILTER = "cellway.owners"
MAP_EPOCHS_FILTER = "cellway.map_epochs"
MAP_MISDIRECTED_FILTER = "cellway.map_misdirected"

# The module that answers inside Envoy (the edge map).
EDGE_MODULE = "cellway_edge_v1"
"""The module's name; its file is ``lib<name>.so``."""
EDGE_MODULE_VERSION = "v1"
MODULE_FILTER_TYPE = (
    f"{TYPE_URL}envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"
)
NODE_METADATA = "cellway"
"""In a node's metadata: an object with what we say of the node."""
MODULE_METADATA = "edge_module"
"""In that object: the version of the module whose file the node's Envoy finds."""
MODULE_VARIANT = "module"
"""The variant of the configuration for such nodes; see `xds.variants`."""
ROUTE_METADATA = "cellway"
"""In a route's metadata: an object with what is told of the decision."""
TIER_KEY = "tier"
EDGE_MAP_TIER = "edge-map"

# Headers of a decision, from whoever decides to Envoy's routes, cells and debug callers.
INTERNAL_PREFIX = "x-cellway-"
"""All our headers begin with this. The edge removes those that a client sends."""
CELL_HEADER = "x-cellway-cell"
"""The cell that a request goes to, or a `refusal`, or `MISDIRECTED`."""
RULE_HEADER = "x-cellway-rule"
TIER_HEADER = "x-cellway-tier"
CLASSIFIER_TIER = "classifier"
REVISION_HEADER = "x-cellway-revision"
"""In responses: the revision that Envoy runs (debug callers) or that a write made (REST)."""
MISDIRECTED = "!misdirected"
"""The value of `CELL_HEADER` while a request that a cell answered with 421 is decided again."""

# Headers between an edge's filters and the classifier.
ANSWER_HEADER = "x-cellway-answer"
"""An answer in one header, for the edge cache: ``<cell> <rule> <value of CACHE_HEADER>``.

One header is cheaper than three: each costs Envoy and Lua about 1 % of a request's time.
"""
CACHE_HEADER = "x-cellway-cache"
"""``<revision> <time to live in ms> <shard>,<shard>,…``; ``-`` in place of no shard."""
KNOWN_HEADER = "x-cellway-known"
"""In a question: ``<revision> <digest of the ruleset>``, see `classifier.http`."""
METHOD_HEADER = "x-cellway-method"
"""In a question: the client's method, where the edge can't send the question with it."""
COUNTS_HEADER = "x-cellway-edge-counts"
"""In a question: what the edge cache has counted since its last report."""
EDGE_SECRET_HEADER = "x-cellway-edge-secret"  # noqa: S105 - a name, no secret
"""In a question: what shows that an edge asks. Over gRPC it is metadata of this name."""
ERROR_HEADER = "x-cellway-error"
"""In a 503 of the classifier: why it can't decide."""
MISDIRECTED_HEADER = "x-cellway-misdirected"
"""On a request that a cell answered with 421: ``<method> <bytes of its body> <cell>``."""
HOST_HEADER = "x-cellway-host"
"""The client's host: Envoy replaces it when it begins a request again after a 421."""
STALE_HEADER = "x-cellway-stale"
"""``1`` if the edge cache used an answer beyond its time, because the classifier did not answer."""
AUTHZ_FAILED_HEADER = "x-envoy-auth-failure-mode-allowed"
"""Set by Envoy's ext_authz filter when the classifier did not answer."""
RULESET_CONTEXT = "ruleset"
"""The context extension of ext_authz over gRPC that holds the digest of the ruleset to use."""

# Headers of our APIs.
NEXT_HEADER = "x-cellway-next"
"""In a REST response: the cursor of the next part of an export."""
CELL_ID_METADATA = "x-cellway-cell-id"
"""gRPC metadata: the cell that calls, where no certificate says so."""

# Limits that several rooms check.
MAX_IDEMPOTENCY_KEY_CHARS = 255
MAX_CELL_ID_CHARS = 19
"""The longest text that may be a cell id: as many digits as 2^63 has."""
MAX_DOCUMENT_BYTES = 1 << 20
"""The longest ruleset, as JSON."""
MAX_LINE_BYTES = 64 * 1024
"""The longest line of a file of claims (NDJSON)."""
MAX_RECORDS = 1000
"""The most records of one update, creates and destroys together, and of one answer of ListRecords.

GitLab's clients keep to the same limit.
"""
MAX_PAGE = 1000
"""The most rows of one page of any list."""
MAX_REASON_CHARS = 1024
"""The longest reason that an operator can give for a change. The audit keeps it."""
BUCKET = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
"""The name of a bucket of claims."""
NODE_NAME = re.compile(r"[\x21-\x7e]{1,256}\Z")
"""An Envoy's node id or node cluster: visible ASCII, so that it can't break a log line or hide."""


def cell_id(text: str) -> int | None:
    """Return the cell id that a text stands for; None unless it is in the canonical form.

    That is the form in which ids are written everywhere: decimal, in ASCII, without a sign and
    without leading zeros. Rules, clients and certificates must mean the same cell by the same text,
    so ``012`` is no cell.
    """
    if text.isascii() and text.isdigit() and len(text) <= MAX_CELL_ID_CHARS and text[0] != "0":
        return int(text)
    return None


def cell_cluster(cell: str) -> str:
    """Return the name of a cell's cluster."""
    return f"{CELL_CLUSTERS}{cell}"


def refusal(code: int, reason: str = "") -> str:
    """Return the value of `CELL_HEADER` for a refusal with this status, for example ``!404``.

    No cell's name has a "!" in it. A reason follows where the status alone would not tell it:
    ``!503:cell-down``.
    """
    return f"!{code}:{reason}" if reason else f"!{code}"


TOLD_REASONS = ("cell-down", "frozen")
"""The reasons that the classifier adds to a refusal."""
MAX_PARTS = 256 << 10
"""Bytes of a protobuf message that can be tags and lengths. To read a message holds the event loop,
and its bytes alone don't say how long: 2 MiB can be a text or a million empty records, which take
40 ms. An update of 1,000 claims has 30,000 such bytes, and 100,000 names have 200,000."""
_TEXT = bytes(range(0x20, 0x100))


def has_too_many_parts(message: bytes) -> bool:
    """Return whether a serialised protobuf message may take long to read.

    The port bounds its bytes. Few messages have so many that they need to be looked at.
    """
    return len(message) > MAX_PARTS and len(message.translate(None, _TEXT)) > MAX_PARTS
