"""Readers of recorded traffic: Envoy's JSON access logs, the combined log format, and HAR."""
