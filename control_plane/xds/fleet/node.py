"""How a node may be called: its names end up in logs, statuses and pages."""

import re

NODE_NAME = re.compile(r"[\x21-\x7e]{1,256}\Z")
"""A node id or node cluster: visible ASCII, so that it can neither break a line nor hide."""
