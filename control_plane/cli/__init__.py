"""The ``cellway`` command: a client of the REST API, with a module for each noun.

Whoever works at 3 a.m. waits for every start of the command, so that no module of this folder
imports what takes long to load: the server, SQLAlchemy, gRPC or pydantic. Three places do:

- `local`, for the commands that run something on this machine (``up``, ``serve``, ``envoy …``,
  ``db …`` and ``claims import --database-url``),
- `rule_cases` and `rule_case_results`, for ``rules test``,
- `rule_tiers`, for ``rules tiers`` and ``rules lint``.

The commands that need them import them when they run, inside their functions.
Nothing else of the folder is imported inside a function.
"""
