"""What every request passes before a handler: one concern each."""
