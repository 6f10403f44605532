"""What the edge lets in, and what it makes of a raw request before it is routed."""
