"""The route table of the service behind the edge: which words of a path are its own, not names."""
