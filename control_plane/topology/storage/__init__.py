"""SQL and transactions. Knows no cell and no claim."""
