"""The rule language: how rulesets are written, read and checked."""
