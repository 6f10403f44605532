"""The variant of the edge for Envoys that have the module: the edge map's filters and routes."""
