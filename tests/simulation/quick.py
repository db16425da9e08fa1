"""A connection that does with each statement what SQLAlchemy does, and none of its bookkeeping.

The statements, their SQL, and what they make of values are SQLAlchemy's own. What is left out are
its execution contexts, events and cursors' wrappers, which take ten times as long as SQLite itself.
`test_simulation.py` holds both against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Executable
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql.compiler import SQLCompiler

Values = Mapping[str, Any]


class QuickResult(IteratorResult):
    """A statement's rows, and how many it has changed."""

    def __init__(self, shape: SimpleResultMetaData, rows: Iterator[Any], rowcount: int) -> None:
        super().__init__(shape, rows)
        self.rowcount = rowcount


class QuickConnection:
    """What a transaction of the store asks of a connection to SQLite."""

    def __init__(self, connection: Connection) -> None:
        self._dialect = connection.dialect
        self._driver = connection.connection.dbapi_connection
        self._compiled: dict[Any, SQLCompiler] = {}
        self._shapes: dict[SQLCompiler, SimpleResultMetaData] = {}

    def execute(
        self, statement: Executable, values: Values | Sequence[Values] | None = None
    ) -> QuickResult:
        """Execute one statement, for each of the values if they are several."""
        several = [values or {}] if not isinstance(values, list) else values
        compiled, extracted, collected, _ = statement._compile_w_cache(
            self._dialect,
            compiled_cache=self._compiled,
            column_keys=sorted(several[0]),
            for_executemany=len(several) > 1,
        )
        assert not compiled.insert_prefetch, "a column has a default of Python's"
        given = [
            compiled.construct_params(
                each,
                _group_number=number,
                extracted_parameters=extracted,
                escape_names=False,
                _collected_params=collected,
            )
            for number, each in enumerate(several)
        ]
        if len(given) > 1:
            order, processors = compiled.positiontup, compiled._bind_processors
            rows = [_bound(each, order, processors) for each in given]
            return self._told(compiled, self._driver.executemany(compiled.string, rows))
        sql, order, processors = _spelled(compiled, given[0])
        return self._told(compiled, self._driver.execute(sql, _bound(given[0], order, processors)))

    def _told(self, compiled: SQLCompiler, cursor: Any) -> QuickResult:
        rows = cursor.fetchall()
        if compiled not in self._shapes:
            self._shapes[compiled] = _shape(compiled, cursor.description or ())
        return QuickResult(self._shapes[compiled], iter(rows), cursor.rowcount)


def _spelled(
    compiled: SQLCompiler, values: dict[str, Any]
) -> tuple[str, Sequence[str], Mapping[str, Any]]:
    """The statement as the driver takes it, with as many places as its lists have members."""
    if not (compiled.literal_execute_params or compiled.post_compile_params):
        return compiled.string, compiled.positiontup or (), compiled._bind_processors
    expanded = compiled._process_parameters_for_postcompile(values)
    return (
        expanded.statement,
        expanded.positiontup or (),
        {**compiled._bind_processors, **expanded.processors},
    )


def _bound(values: Values, order: Sequence[str] | None, processors: Mapping[str, Any]) -> list[Any]:
    return [
        processors[name](values[name]) if name in processors else values[name]
        for name in order or ()
    ]


def _shape(compiled: SQLCompiler, description: Sequence[Any]) -> SimpleResultMetaData:
    """The columns' names, and what makes Python's values of SQLite's."""
    columns = compiled._result_columns
    if not columns:
        return SimpleResultMetaData([each[0] for each in description])
    processors = [
        column.type._cached_result_processor(compiled.dialect, None) for column in columns
    ]
    return SimpleResultMetaData([column.keyname for column in columns], _processors=processors)
