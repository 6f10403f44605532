"""A whole system to try: the demo, and the cells that it routes to."""
