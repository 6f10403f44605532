"""The one way from a revision to what the fleet gets: topology, compiler, xds."""
