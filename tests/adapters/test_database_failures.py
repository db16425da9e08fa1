"""Every error that one of the three drivers knows has a class, and the class is the right one."""

import sqlite3
from collections.abc import Iterator

import psycopg
import pymysql
import pytest
from pymysql.constants import CR, ER
from sqlalchemy.exc import DBAPIError

from worker.adapters.database.engine.failures import Failure, failure_of, translated
from worker.errors import ConfigurationError, DatabaseBehind, StoreFault, StoreUnavailable

OURS_BY_ERROR = {
    Failure.CONFLICT: StoreUnavailable,  # when it has been tried often enough
    Failure.WAIT: StoreUnavailable,
    Failure.BEHIND: DatabaseBehind,
    Failure.UNUSABLE: ConfigurationError,
    Failure.OURS: StoreFault,
}


def below(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def numbered(number: int) -> Exception:
    kind = pymysql.err.error_map.get(number, pymysql.err.OperationalError)
    return kind(number, "words")


def of_sqlite(code: int, words: str = "words") -> sqlite3.Error:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode = code
    return error


def named(module: object) -> list[int]:
    return [value for name, value in vars(module).items() if name.isupper() and value]


EVERY_ERROR: list[BaseException] = [
    *(kind("words") for kind in below(psycopg.Error)),
    *(kind("words") for kind in below(pymysql.err.MySQLError)),
    *(numbered(number) for number in named(ER)),
    *(pymysql.err.OperationalError(number, "words") for number in named(CR)),
    *(kind("words") for kind in below(sqlite3.Error)),
    *(of_sqlite(code) for code in range(1, 27)),
]


def test_every_error_of_every_driver_becomes_one_of_ours():
    assert len(EVERY_ERROR) > 700
    for error in EVERY_ERROR:
        wrapped = DBAPIError("statement", {}, error)
        ours = translated(wrapped)
        assert type(ours) is OURS_BY_ERROR[failure_of(error)], error


@pytest.mark.parametrize("kind", ["08", "28", "3D", "53", "57", "58", "F0"])
def test_every_state_of_a_class_about_the_server_waits(kind: str):
    states = [
        error
        for error in below(psycopg.Error)
        if (getattr(error, "sqlstate", "") or "")[:2] == kind
    ]
    assert states
    assert {failure_of(error("words")) for error in states} == {Failure.WAIT}


@pytest.mark.parametrize("kind", ["21", "22", "23", "24", "2B", "34", "44", "P0"])
def test_every_state_of_a_class_about_the_statement_is_a_mistake_of_ours(kind: str):
    states = [
        error
        for error in below(psycopg.Error)
        if (getattr(error, "sqlstate", "") or "")[:2] == kind
    ]
    assert states
    assert {failure_of(error("words")) for error in states} == {Failure.OURS}


@pytest.mark.parametrize(
    ("state", "failure"),
    {
        "25006": Failure.WAIT,  # read-only
        "25P03": Failure.WAIT,  # idle in transaction for too long
        "25P02": Failure.OURS,
        "26000": Failure.WAIT,  # a pooler gave us another connection
        "40001": Failure.CONFLICT,
        "40P01": Failure.CONFLICT,
        "55P03": Failure.CONFLICT,
        "42501": Failure.WAIT,
        "42P01": Failure.BEHIND,
        "42601": Failure.OURS,
        "53100": Failure.WAIT,  # disk full
        "53300": Failure.WAIT,  # too many connections
        "57P01": Failure.WAIT,  # shut down
        "57P03": Failure.WAIT,  # starting up
        "23505": Failure.OURS,
        "XX000": Failure.OURS,
    }.items(),
)
def test_a_state_of_postgresql(state: str, failure: Failure):
    assert failure_of(psycopg.errors.lookup(state)("words")) is failure


@pytest.mark.parametrize(
    ("number", "failure"),
    {
        0: Failure.WAIT,  # InterfaceError(0, ""): the connection was closed
        3: Failure.WAIT,  # the system's own number: error writing a file
        28: Failure.WAIT,  # no space left
        1020: Failure.CONFLICT,
        1021: Failure.WAIT,  # disk full
        1036: Failure.WAIT,  # table is read-only
        1040: Failure.WAIT,  # too many connections
        1045: Failure.WAIT,
        1047: Failure.WAIT,  # Galera is not ready
        1053: Failure.WAIT,  # shutdown
        1062: Failure.OURS,
        1064: Failure.OURS,
        1114: Failure.WAIT,  # the table is full
        1146: Failure.BEHIND,
        1205: Failure.CONFLICT,
        1213: Failure.CONFLICT,
        1290: Failure.WAIT,  # --read-only
        1366: Failure.OURS,
        1406: Failure.OURS,
        1792: Failure.WAIT,
        1927: Failure.WAIT,  # connection killed
        2006: Failure.WAIT,
        2013: Failure.WAIT,
        4025: Failure.OURS,  # a check constraint
        9001: Failure.WAIT,  # ProxySQL
    }.items(),
)
def test_a_number_of_mariadb(number: int, failure: Failure):
    error = numbered(number) if number else pymysql.err.InterfaceError(0, "")
    assert failure_of(error) is failure


@pytest.mark.parametrize(
    ("code", "failure"),
    {
        sqlite3.SQLITE_ERROR: Failure.OURS,
        sqlite3.SQLITE_BUSY: Failure.WAIT,
        sqlite3.SQLITE_BUSY_SNAPSHOT: Failure.CONFLICT,
        sqlite3.SQLITE_READONLY_DBMOVED: Failure.WAIT,
        sqlite3.SQLITE_IOERR_WRITE: Failure.WAIT,
        sqlite3.SQLITE_FULL: Failure.WAIT,
        sqlite3.SQLITE_CANTOPEN: Failure.WAIT,
        sqlite3.SQLITE_CORRUPT_INDEX: Failure.UNUSABLE,
        sqlite3.SQLITE_NOTADB: Failure.UNUSABLE,
        sqlite3.SQLITE_CONSTRAINT_UNIQUE: Failure.OURS,
    }.items(),
)
def test_a_code_of_sqlite(code: int, failure: Failure):
    assert failure_of(of_sqlite(code)) is failure


def test_a_missing_table_or_column_of_sqlite_is_an_old_schema():
    for words in (
        "no such table: files",
        "no such column: lane",
        "table files has no column named x",
    ):
        assert failure_of(of_sqlite(sqlite3.SQLITE_ERROR, words)) is Failure.BEHIND


def test_a_plan_that_a_migration_made_stale_is_tried_again():
    stale = psycopg.errors.FeatureNotSupported("cached plan must not change result type")
    assert failure_of(stale) is Failure.CONFLICT
    assert failure_of(psycopg.errors.FeatureNotSupported("words")) is Failure.OURS


def test_a_prepared_statement_that_is_gone_names_the_setting_for_poolers():
    gone = psycopg.errors.InvalidSqlStatementName('prepared statement "_pg3_1" does not exist')
    assert "INGEST_DATABASE_POOLER" in str(translated(DBAPIError("statement", {}, gone)))
