"""Operators who show a JWT of an OpenID Connect issuer instead of one of our tokens.

`provider` says which issuer is believed, and what its claims mean here. `keys` reads a JSON Web Key
Set. `key_source` has the newest one, from a URL or a file. `verifier` turns a token into a caller,
or into a `refusal`.
"""
