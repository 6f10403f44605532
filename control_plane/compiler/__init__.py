"""Turns cells, a ruleset and a traffic policy into Envoy resources (pure, deterministic)."""
