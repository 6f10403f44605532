"""What a program can hold. `envoy/module/program_parts.h` has the same limits."""

from __future__ import annotations

MAX_ANSWERS = 50_000
"""Answers of one program. Each is a route, of which an Envoy keeps some 300 bytes."""
MAX_TEXTS = 64
"""Headers and other parts of a request that rules look at."""
MAX_BIT_WORDS = 256
"""For the patterns of all texts; 64 patterns of one text make a word."""
MAX_SET_PATTERNS = 1024
"""Different patterns of one text."""
MAX_COOKIES = 64
"""Different matches of cookies."""
MAX_COOKIE_PATTERNS = 128
"""Different patterns of cookies' names, and of their values."""
MAX_MATCHES = 64
"""Matches of one rule."""
MAX_SLOTS = 64
"""Values of one rule."""
MAX_GROUPS = 32
"""Groups of one regex that a rule uses."""
MAX_TEMPLATE_PARTS = 64
MAX_TEMPLATE_BYTES = 1024
"""Fixed text of one template."""
WORD = 64
"""Patterns to a word."""
