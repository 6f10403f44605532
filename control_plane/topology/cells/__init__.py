"""Cells: their life, their ids, their ranges of ids, and whether they are up."""
