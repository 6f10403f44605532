"""The classifier's processes: the program that each runs, and their supervisor."""
