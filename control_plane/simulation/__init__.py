"""Recorded traffic, decided by two rulesets: which requests would go elsewhere. Pure.

`logs` reads access logs, `comparison` decides what they hold, and `report` counts the differences.
"""
