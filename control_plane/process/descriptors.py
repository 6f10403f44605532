"""How many files and sockets a process may have open."""

from __future__ import annotations

import resource


def descriptors_for(wanted: int) -> int:
    """Raise this process's limit to what is wanted, as far as it may; return the limit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted if soft == resource.RLIM_INFINITY else soft
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return raised
