"""Statements on libpq itself: all of them are sent at once, then the answers are read.

psycopg has a pipeline mode of its own, but it makes a system call for each statement. The server
wakes for each, works it off and goes to sleep again; and psycopg waits for a transaction to begin
before it sends the first. For a group of writes that was most of the processor time of both sides.
Here one buffer holds all statements of a round trip:

    → BEGIN   UPDATE revisions …   INSERT INTO leases …   INSERT INTO claims …   sync
    ← ok      row (42, 12:00)      1 row                  10 rows                ready

psycopg still does the rest: it holds the connection, writes parameters and reads values, and makes
exceptions of the server's errors. Statements that come often are prepared, as psycopg does it, so
that the server plans them once (`Prepared`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum, auto
from typing import Any, NamedTuple

import psycopg
from psycopg import abc
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

PREPARED_FROM = 5
"""A statement that was used this often is prepared at its next use."""
MAX_PREPARED = 100
"""How many statements a connection has prepared at most, and of how many others it counts uses."""
_STALE = frozenset({"0A000", "26000"})
"""SQLSTATEs of a prepared statement that is of no use any more: its plan no longer fits the table,
or the server has no statement of that name."""
type _Key = tuple[bytes, tuple[int, ...]]
"""What tells prepared statements apart: the text, and the types of the parameters."""


class Prepared:
    """The statements that one connection has prepared, the latest used last."""

    def __init__(self) -> None:
        self._names: OrderedDict[_Key, bytes] = OrderedDict()
        self._uses: OrderedDict[_Key, int] = OrderedDict()
        self._doubtful: list[bytes] = []
        self._last_number = 0

    def name_of(self, key: _Key) -> bytes | None:
        """Return the name under which a statement is prepared, and count that as a use."""
        name = self._names.get(key)
        if name is not None:
            self._names.move_to_end(key)
        return name

    def count_use(self, key: _Key) -> bytes | None:
        """Count a use of a statement that isn't prepared; return a name once it should be."""
        uses = self._uses.pop(key, 0)
        if uses >= PREPARED_FROM:
            self._last_number += 1
            return b"_cellway_%d" % self._last_number
        self._uses[key] = uses + 1
        if len(self._uses) > MAX_PREPARED:
            self._uses.popitem(last=False)
        return None

    def add(self, key: _Key, name: bytes) -> None:
        """Record that the server has prepared a statement."""
        self._names[key] = name

    def doubt(self) -> None:
        """Stop using the statements: at a rollback psycopg may make the server drop them all.

        The server may still have them, so they are closed before new ones are prepared.
        """
        self._doubtful += self._names.values()
        self._names.clear()

    def take_doubtful(self) -> list[bytes]:
        """Return the names of the statements to be closed, once."""
        names, self._doubtful = self._doubtful, []
        return names

    def take_surplus(self) -> bytes | None:
        """Remove the statement unused for longest, if there are too many; return its name."""
        return self._names.popitem(last=False)[1] if len(self._names) > MAX_PREPARED else None


def run(
    raw: psycopg.Connection[Any],
    prepared: Prepared | None,
    statements: Sequence[tuple[bytes, Sequence[Any]]],
) -> list[tuple[int, list[tuple[Any, ...]]]]:
    """Run statements in order, in one round trip and in one transaction.

    Args:
        raw: the connection. A transaction is begun if there is none.
        prepared: what the connection has prepared; None: prepare nothing.
        statements: SQL with ``$1`` and so on for the parameters, and the parameters.

    Returns:
        For each statement the number of rows that it changed (-1 if it is of a kind that has no
        such number) and the rows that it returned.

    Raises:
        psycopg.Error: the error of the first statement that failed; those after it are not run.
            An `OperationalError` without SQLSTATE also means that the connection's prepared
            statements are of no use any more. Then it is closed.
    """
    transformer: abc.Transformer = Transformer(raw)
    with raw.lock:
        pgconn = raw.pgconn
        try:
            exchange = _Exchange(raw, prepared)
            results = raw.wait(exchange.run(transformer, statements))
        except psycopg.Error as error:
            if error.sqlstate in _STALE:
                raw.close()
                raise psycopg.OperationalError(str(error)) from error
            raise
        finally:
            _close_if_unfinished(raw, pgconn)
    return [_read(transformer, one) for one in results]


class _Answer(Enum):
    """What becomes of the server's answer to a command."""

    RESULT = auto()
    """It is the result of a statement."""
    IGNORED = auto()


class _Preparation(NamedTuple):
    """An answer that says that a statement is prepared now."""

    key: _Key
    name: bytes


class _Exchange:
    """One round trip: the commands that were sent, and what their answers are for."""

    def __init__(self, raw: psycopg.Connection[Any], prepared: Prepared | None) -> None:
        self._raw = raw
        self._pgconn: PGconn = raw.pgconn
        self._prepared = prepared
        self._expected: list[_Answer | _Preparation] = []
        """For each command, in order, what its answer is for."""
        self._preparing: dict[_Key, bytes] = {}
        """The statements that this round trip prepares, by their new names."""

    def run(
        self, transformer: abc.Transformer, statements: Sequence[tuple[bytes, Sequence[Any]]]
    ) -> PQGen[list[PGresult]]:
        """Send all, and return the statements' results once all answers have been read."""
        pgconn = self._pgconn
        pgconn.enter_pipeline_mode()
        if pgconn.transaction_status == TransactionStatus.IDLE and not self._raw.autocommit:
            self._send_aside(_begin(self._raw))
        for name in self._prepared.take_doubtful() if self._prepared else ():
            # Unlike DEALLOCATE, this is no error where the statement is gone already.
            pgconn.send_close_prepared(name)
            self._expected.append(_Answer.IGNORED)
        for sql, params in statements:
            values = transformer.dump_sequence(params, [PyFormat.AUTO] * len(params))
            self._send(sql, values, transformer)
        while self._prepared and (surplus := self._prepared.take_surplus()) is not None:
            self._send_aside(b"DEALLOCATE " + surplus)
        pgconn.pipeline_sync()
        yield from send(pgconn)
        return (yield from self._results())

    def _send(
        self, sql: bytes, values: Sequence[Buffer | None], transformer: abc.Transformer
    ) -> None:
        types = transformer.types or ()
        formats = transformer.formats
        name = self._name_of((sql, types))
        if name is None:
            self._pgconn.send_query_params(sql, values, param_types=types, param_formats=formats)
        else:
            self._pgconn.send_query_prepared(name, values, param_formats=formats)
        self._expected.append(_Answer.RESULT)

    def _name_of(self, key: _Key) -> bytes | None:
        """Return the name of a prepared statement; prepare it first, if it is due for that."""
        prepared = self._prepared
        if prepared is None:
            return None
        name = prepared.name_of(key) or self._preparing.get(key)
        if name is None and (name := prepared.count_use(key)) is not None:
            self._preparing[key] = name
            self._pgconn.send_prepare(name, key[0], param_types=key[1])
            self._expected.append(_Preparation(key, name))
        return name

    def _send_aside(self, sql: bytes) -> None:
        """Send a command whose answer matters only if it is an error."""
        self._pgconn.send_query_params(sql, None)
        self._expected.append(_Answer.IGNORED)

    def _results(self) -> PQGen[list[PGresult]]:
        """Read all answers, and return the statements' results; raise the first error."""
        results: list[PGresult] = []
        failed: PGresult | None = None
        for answer in self._expected:
            result = yield from self._next()
            if result.status in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
                if answer is _Answer.RESULT:
                    results.append(result)
                elif isinstance(answer, _Preparation) and self._prepared is not None:
                    self._prepared.add(*answer)
            elif failed is None:
                failed = result
        # The answer to the sync.
        yield from self._next()
        self._pgconn.exit_pipeline_mode()
        if failed is not None:
            raise error_from_result(failed, encoding=self._raw.info.encoding)
        return results

    def _next(self) -> PQGen[PGresult]:
        answers: list[PGresult] = yield from fetch_many(self._pgconn)
        if not answers:
            raise psycopg.OperationalError("the server's answers came to an end")
        return answers[0]


def _begin(raw: psycopg.Connection[Any]) -> bytes:
    level = raw.isolation_level
    if level is None:
        return b"BEGIN"
    return f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')}".encode()


def _close_if_unfinished(raw: psycopg.Connection[Any], pgconn: PGconn) -> None:
    """Close a connection on which answers are still to come, whatever happened."""
    if pgconn.status == ConnStatus.OK and pgconn.pipeline_status != PipelineStatus.OFF:
        raw.close()


def _read(transformer: abc.Transformer, result: PGresult) -> tuple[int, list[tuple[Any, ...]]]:
    count = result.command_tuples
    rows: list[tuple[Any, ...]] = []
    if result.status == ExecStatus.TUPLES_OK:
        transformer.set_pgresult(result)
        rows = transformer.load_rows(0, result.ntuples, tuple)
    return (-1 if count is None else count), rows
