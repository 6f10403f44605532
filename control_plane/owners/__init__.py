"""The owners stream: every claimed name as a fingerprint with its cell, kept current by changes."""
