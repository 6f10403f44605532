"""Claims: who owns a name, and how that changes."""
