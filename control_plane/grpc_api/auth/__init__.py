"""Who calls the gRPC port, and which methods that caller may call."""
