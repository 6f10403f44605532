"""The ``cellway`` command: a client of the REST API, plus ``up`` and ``serve``."""
