"""Translations between the protocol's messages and statuses and the topology's values."""
