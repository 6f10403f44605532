"""The ASGI middleware that every request passes before its handler, one concern a module.

From the outside in: `own_origin`, `authentication`, `body_limit`, `idempotency`. The dependencies
`strict_query` and `media_type` run after them, once the operation is known.
"""
