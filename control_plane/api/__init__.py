"""The REST API for operators."""
