"""The values that the topology stores and hands out. Pure."""
