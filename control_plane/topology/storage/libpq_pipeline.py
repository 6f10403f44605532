"""Statements on libpq itself: all of them are sent at once, then the answers are read.

psycopg's own pipeline mode makes a system call for each statement, by which the server wakes and
works it off alone, and waits for a transaction to begin before it sends the first: on a group of
writes that was most of the processor time of both. What stays psycopg's: the connection, how
values are written and read, and what an error means.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import abc
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

PREPARED_FROM = 5
"""A statement is prepared when it comes for so many times and once more, as with psycopg."""
MAX_PREPARED = 100
"""Prepared statements of a connection, and those counted that are not: the latest used."""
_STALE = frozenset({"0A000", "26000"})
"""The plan fits the table no longer; no such prepared statement."""
_Types = tuple[int, ...]


class Prepared:
    """The statements that a connection has prepared, by text and types of the parameters."""

    def __init__(self) -> None:
        self._names: OrderedDict[tuple[bytes, _Types], bytes] = OrderedDict()
        self._uses: OrderedDict[tuple[bytes, _Types], int] = OrderedDict()
        self._doubtful: list[bytes] = []
        self._made = 0

    def name(self, key: tuple[bytes, _Types]) -> bytes | None:
        """The name of what is prepared."""
        name = self._names.get(key)
        if name is not None:
            self._names.move_to_end(key)
        return name

    def wanted(self, key: tuple[bytes, _Types]) -> bytes | None:
        """Count a use; a new name if it is worth preparing."""
        uses = self._uses.pop(key, 0)
        if uses >= PREPARED_FROM:
            self._made += 1
            return b"_cellway_%d" % self._made
        self._uses[key] = uses + 1
        if len(self._uses) > MAX_PREPARED:
            self._uses.popitem(last=False)
        return None

    def keep(self, key: tuple[bytes, _Types], name: bytes) -> None:
        """It is prepared under this name now."""
        self._names[key] = name

    def doubt(self) -> None:
        """psycopg may have the server forget every prepared statement: it does at a rollback."""
        self._doubtful += self._names.values()
        self._names.clear()

    def doubtful(self) -> list[bytes]:
        """Names of statements that may be there still, but are not to be used; told once."""
        names, self._doubtful = self._doubtful, []
        return names

    def surplus(self) -> bytes | None:
        """The name of one that is to be forgotten, if there are too many."""
        return self._names.popitem(last=False)[1] if len(self._names) > MAX_PREPARED else None


def run(
    raw: psycopg.Connection[Any],
    prepared: Prepared | None,
    statements: Sequence[tuple[bytes, Sequence[Any]]],
) -> list[tuple[int, list[tuple[Any, ...]]]]:
    """Run SQL with ``$1`` for parameters, in order, in a transaction, begun if there is none.

    Gives of each the number of rows and the rows themselves. Where one fails, those after it are
    not run. Without ``prepared``, none is prepared.

    Raises:
        psycopg.Error: that of the first that failed; `OperationalError` without a state also
            where the connection's prepared statements are of no use any more: it is closed.
    """
    transformer: abc.Transformer = Transformer(raw)
    with raw.lock:
        pgconn = raw.pgconn
        try:
            sent = _Sent(raw, prepared)
            results = raw.wait(sent.exchange(transformer, statements))
        except psycopg.Error as error:
            if error.sqlstate in _STALE:
                raw.close()
                raise psycopg.OperationalError(str(error)) from error
            raise
        finally:
            _leave(raw, pgconn)
    return [_read(transformer, one) for one in results]


class _Sent:
    """What is under way: which of the answers are those to the statements."""

    def __init__(self, raw: psycopg.Connection[Any], prepared: Prepared | None) -> None:
        self._raw = raw
        self._pgconn: PGconn = raw.pgconn
        self._prepared = prepared
        self._answers: list[tuple[tuple[bytes, _Types], bytes] | bool] = []
        """For each command: what it prepares, or whether its answer is wanted."""

    def exchange(
        self, transformer: abc.Transformer, statements: Sequence[tuple[bytes, Sequence[Any]]]
    ) -> PQGen[list[PGresult]]:
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        if pgconn.transaction_status == TransactionStatus.IDLE and not self._raw.autocommit:
            self._aside(_begin(self._raw))
        for name in self._prepared.doubtful() if self._prepared else ():
            # No error where it is gone already, as DEALLOCATE would be.
            pgconn.send_close_prepared(name)
            self._answers.append(False)
        fresh: dict[tuple[bytes, _Types], bytes] = {}
        for sql, params in statements:
            values = transformer.dump_sequence(params, [PyFormat.AUTO] * len(params))
            self._send(sql, values, transformer, fresh)
        while self._prepared and (surplus := self._prepared.surplus()) is not None:
            self._aside(b"DEALLOCATE " + surplus)
        pgconn.pipeline_sync()
        yield from send(pgconn)
        return (yield from self._answered())

    def _send(
        self,
        sql: bytes,
        values: Sequence[Buffer | None],
        transformer: abc.Transformer,
        fresh: dict[tuple[bytes, _Types], bytes],
    ) -> None:
        types = transformer.types or ()
        formats = transformer.formats
        key = (sql, types)
        name = None if self._prepared is None else self._name(self._prepared, key, fresh)
        if name is None:
            self._pgconn.send_query_params(sql, values, param_types=types, param_formats=formats)
        else:
            self._pgconn.send_query_prepared(name, values, param_formats=formats)
        self._answers.append(True)

    def _name(
        self,
        prepared: Prepared,
        key: tuple[bytes, _Types],
        fresh: dict[tuple[bytes, _Types], bytes],
    ) -> bytes | None:
        """The name of a prepared statement, which is prepared now if it is worth that."""
        name = prepared.name(key) or fresh.get(key)
        if name is None and (name := prepared.wanted(key)) is not None:
            fresh[key] = name
            self._pgconn.send_prepare(name, key[0], param_types=key[1])
            self._answers.append((key, name))
        return name

    def _aside(self, sql: bytes) -> None:
        """Send what nobody wants to know of, unless it fails."""
        self._pgconn.send_query_params(sql, None)
        self._answers.append(False)

    def _answered(self) -> PQGen[list[PGresult]]:
        """The statements' results, once all has been read."""
        wanted: list[PGresult] = []
        failed: PGresult | None = None
        for answer in self._answers:
            result = yield from self._next()
            if result.status in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
                if answer is True:
                    wanted.append(result)
                elif answer and self._prepared is not None:
                    self._prepared.keep(*answer)
            elif failed is None:
                failed = result
        yield from self._next()
        self._pgconn.exit_pipeline_mode()
        if failed is not None:
            raise error_from_result(failed, encoding=self._raw.info.encoding)
        return wanted

    def _next(self) -> PQGen[PGresult]:
        results: list[PGresult] = yield from fetch_many(self._pgconn)
        if not results:
            raise psycopg.OperationalError("the server's answers came to an end")
        return results[0]


def _begin(raw: psycopg.Connection[Any]) -> bytes:
    level = raw.isolation_level
    if level is None:
        return b"BEGIN"
    return f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}".encode()


def _leave(raw: psycopg.Connection[Any], pgconn: PGconn) -> None:
    """Whatever happened: no connection is left with answers that are still to come."""
    if pgconn.status == ConnStatus.OK and pgconn.pipeline_status != PipelineStatus.OFF:
        raw.close()


def _read(transformer: abc.Transformer, result: PGresult) -> tuple[int, list[tuple[Any, ...]]]:
    count = result.command_tuples
    rows: list[tuple[Any, ...]] = []
    if result.status == ExecStatus.TUPLES_OK:
        transformer.set_pgresult(result)
        rows = transformer.load_rows(0, result.ntuples, tuple)
    return (-1 if count is None else count), rows
