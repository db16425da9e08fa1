"""Column types that mean the same in every database, and the database's own clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Integer, Text, Uuid
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import CHAR, TypeDecorator

_MARIADB = ("mysql", "mariadb")


class _TextUuid(TypeDecorator[UUID]):
    """A UUID in the form that people copy and paste, where there is no native type."""

    impl = CHAR(36)
    cache_ok = True

    def process_bind_param(self, value: UUID | None, _dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> UUID | None:
        return None if value is None else UUID(value)


class _NaiveUtc(TypeDecorator[datetime]):
    """A moment in UTC, where the database knows no time zones."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        fitting = mysql.DATETIME(fsp=6) if dialect.name in _MARIADB else DateTime()
        return dialect.type_descriptor(fitting)

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


IDENTIFIER = Uuid().with_variant(_TextUuid(), "sqlite", *_MARIADB)
"""A UUID: native on PostgreSQL, readable text elsewhere."""

MOMENT = DateTime(timezone=True).with_variant(_NaiveUtc(), "sqlite", *_MARIADB)
"""A moment in UTC with microseconds: aware in Python, a true timestamp column in SQL."""

LONG_TEXT = Text().with_variant(mysql.LONGTEXT(), *_MARIADB)
"""Text of megabytes."""

SERIAL = BigInteger().with_variant(Integer, "sqlite")
"""A number the database counts up by itself (SQLite counts only INTEGER)."""


class utcnow(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock at this moment, not at the transaction's start."""

    type = MOMENT
    inherit_cache = True


@compiles(utcnow, "postgresql")
def _postgresql(_element: utcnow, _compiler: SQLCompiler, **_options: Any) -> str:
    return "clock_timestamp()"


@compiles(utcnow, "mysql")
@compiles(utcnow, "mariadb")
def _mariadb(_element: utcnow, _compiler: SQLCompiler, **_options: Any) -> str:
    return "UTC_TIMESTAMP(6)"


@compiles(utcnow, "sqlite")
def _sqlite(_element: utcnow, _compiler: SQLCompiler, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


_UNFIT = re.compile("[\x00\ud800-\udfff]")


def clean(text: str, limit: int | None = None) -> str:
    """The text as any database can hold it: NUL and lone surrogates become U+FFFD, cut to fit."""
    return _UNFIT.sub("\ufffd", text[:limit])


def clean_or_none(text: str | None, limit: int | None = None) -> str | None:
    """`clean`, for a text that may be missing."""
    return None if text is None else clean(text, limit)


def clean_value(value: Any) -> Any:
    """A decoded JSON value with every text in it cleaned."""
    match value:
        case str():
            return clean(value)
        case list():
            return [clean_value(item) for item in value]
        case dict():
            return {clean(str(key)): clean_value(item) for key, item in value.items()}
        case _:
            return value
