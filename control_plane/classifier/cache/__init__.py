"""Owners that were looked up before: in the process, and in Redis."""
