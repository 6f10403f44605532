"""The gRPC services that sessions are reached by."""
