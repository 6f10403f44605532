"""Who calls, and what that one may call."""
