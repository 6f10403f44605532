"""The operations, a file per resource."""
