"""The services of the protocol."""
