"""The rules that Envoy decides by itself: which they are, and how they are matched."""
