"""The gRPC shell around sessions: services, streams, and when a node may be served."""
