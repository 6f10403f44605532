"""The Topology Service gRPC API, wire-compatible with GitLab's."""
