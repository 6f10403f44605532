"""cellway: cell-based routing for Envoy."""

import os

__version__ = "0.1.0"

# We never fork after gRPC has started (children are exec'ed); its fork handlers only warn.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
