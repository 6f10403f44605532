"""The statements of an update carry all that it names, and as many parameters as placeholders."""

from __future__ import annotations

from control_plane.topology.claims import lease_statements
from control_plane.topology.claims.update import check_update
from control_plane.topology.storage.statements import ROWS_PER_STATEMENT, Statement
from control_plane.topology.values.claim import RecordSpec

LEASE = "a lease"
MANY = [RecordSpec("route", f"r{number}") for number in range(ROWS_PER_STATEMENT + 1)]


def placeholders(statements: list[Statement]) -> list[int]:
    return [one.sql.count("?") for one in statements]


def test_each_created_claim_has_a_uuid_of_its_own() -> None:
    update = check_update(MANY, [])
    statements = lease_statements.create_claims(LEASE, update.creates)
    assert placeholders(statements) == [len(one.params) for one in statements]
    rows = [value for one in statements for value in one.params[:-1]]
    assert rows[1::9] == [spec.value for spec in MANY]
    assert len({*rows[2::9]}) == len(MANY)
    assert {one.params[-1] for one in statements} == {LEASE}


def test_what_is_replaced_is_locked_and_kept() -> None:
    update = check_update(MANY, MANY)
    assert lease_statements.create_claims(LEASE, update.creates) == []
    for statements in (
        lease_statements.lock_claims(LEASE, 1, update.destroys),
        lease_statements.store_replacements(LEASE, update.replaced),
    ):
        assert len(statements) == 2
        assert placeholders(statements) == [len(one.params) for one in statements]
