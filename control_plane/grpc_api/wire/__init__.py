"""The protocol's messages and statuses, and our values."""
