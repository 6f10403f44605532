"""What the API reads and answers with."""
