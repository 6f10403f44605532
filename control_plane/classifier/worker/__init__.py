"""The classifier's processes: what each runs, and who keeps them running."""
