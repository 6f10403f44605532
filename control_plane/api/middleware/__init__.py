"""The ASGI middleware that every request passes before its handler, one concern a module.

From the outside in: `authentication`, `body_limit`, `idempotency`. The dependency `strict_query`
runs after them, once the operation is known.
"""
