"""SQL and transactions. This room knows no cell and no claim, only tables and revisions."""
