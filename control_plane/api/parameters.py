"""Parameters of paths and queries that several operations share, with what /docs says of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Header, Path, Query
from pydantic.json_schema import SkipJsonSchema

from control_plane.names import MAX_PAGE, MAX_REASON_CHARS

Why = Annotated[
    str | SkipJsonSchema[None],
    Query(
        max_length=MAX_REASON_CHARS,
        description="why it is done; stays in the audit. Needed with force",
    ),
]
CellInPath = Annotated[str, Path(description="the name of the cell")]
DrainInPath = Annotated[str, Path(description="the id of the drain")]
RulesetInPath = Annotated[str, Path(description="the name of the ruleset")]
LeaseInPath = Annotated[str, Path(description="the UUID of the lease")]
OperationInPath = Annotated[str, Path(description="the id of the operation")]
MoveInPath = Annotated[int, Path(ge=1, lt=2**31, description="the number of the move")]
TokenInPath = Annotated[str, Path(description="the id or the name of the token")]
BucketInPath = Annotated[str, Path(description="the bucket of the claim, for example route")]
ValueInPath = Annotated[str, Path(description="the value that is claimed; it may have slashes")]
Limit = Annotated[int, Query(ge=1, le=1000, description="how many items at most")]
PageLimit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="how many items at most")]


async def _conditional(
    if_none_match: Annotated[
        str | SkipJsonSchema[None],
        Header(description="the ETag of what you have: if it is still the same, you get 304"),
    ] = None,
) -> None:
    """Describe the header, which the middleware reads (`not_modified`)."""
    del if_none_match


CONDITIONAL = Depends(_conditional)
"""The dependency of an operation whose answer has an ETag."""
