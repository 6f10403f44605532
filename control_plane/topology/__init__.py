"""The source of truth: cells, claims and rulesets, and the feed of every change to them."""
