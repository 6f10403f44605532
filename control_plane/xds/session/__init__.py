"""What one client was sent and runs: pure state machines for delta and SotW."""
