"""Look-ups: which cells own these keys, at which revision."""
