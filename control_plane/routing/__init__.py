"""The one evaluator: which cell does a request belong to, and why (pure, no I/O)."""
