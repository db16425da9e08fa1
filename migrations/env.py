"""Alembic's entry: on the caller's connection, or on INGEST_DATABASE_URL from the command line."""

import os
from logging.config import fileConfig

from alembic import context
from sqlalchemy import Connection, Engine

from worker.adapters.database.engine.engines import parse, single
from worker.adapters.database.tables import metadata

URL_VARIABLE = "INGEST_DATABASE_URL"
DEFAULT_URL = "sqlite:///chatflow-ingest.db"


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        # SQLite can't alter most things in place; Alembic then copies the table.
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


def engine_of_the_environment() -> Engine:
    return single(parse(os.environ.get(URL_VARIABLE) or DEFAULT_URL))


def from_command_line() -> None:
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    engine = engine_of_the_environment()
    try:
        with engine.begin() as connection:
            migrate(connection)
    finally:
        engine.dispose()


def print_sql() -> None:
    url = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    context.configure(url=url, target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_sql()
elif (given := context.config.attributes.get("connection")) is not None:
    migrate(given)
else:
    from_command_line()
