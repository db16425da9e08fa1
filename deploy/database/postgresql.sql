-- Three roles for one database that is ours alone: the owner makes and changes the tables, the worker reads and writes
-- rows, the reader reads. As a superuser, before the first migration or at any time after it, as often as you like:
--
--     createdb ingest
--     psql --dbname ingest --file deploy/database/postgresql.sql
--
-- None of them has a password until you give it one: \password ingest_owner (and so on) in psql. Addresses:
--
--     postgresql+psycopg://ingest_owner:...@host/ingest     `chatflow-ingest db upgrade` and `downgrade`
--     postgresql+psycopg://ingest_worker:...@host/ingest    workers, and commands that hand in, retry, cancel, prune
--     postgresql+psycopg://ingest_reader:...@host/ingest    Flower, `metrics`, `status`, `results`, reports, your own SQL

DO $$
DECLARE
    wanted text;
    relation regclass;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['ingest_owner', 'ingest_worker', 'ingest_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT', wanted);
        END IF;
    END LOOP;
    EXECUTE format('REVOKE CREATE, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ingest_owner, ingest_worker, ingest_reader', current_database());
    -- Tables that are there already, made by whoever migrated until now. Their sequences come along.
    FOR relation IN
        SELECT oid FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e')
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO ingest_owner', relation);
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO ingest_owner;
GRANT USAGE ON SCHEMA public TO ingest_worker, ingest_reader;

-- What the owner's migrations will make, and what they have made.
ALTER DEFAULT PRIVILEGES FOR ROLE ingest_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ingest_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE ingest_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO ingest_worker;
ALTER DEFAULT PRIVILEGES FOR ROLE ingest_owner IN SCHEMA public GRANT SELECT ON TABLES TO ingest_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ingest_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ingest_worker;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO ingest_reader;

-- The revision of the tables is the owner's alone to write, so its table, Alembic's, is made here if it is not there.
SET ROLE ingest_owner;
CREATE TABLE IF NOT EXISTS alembic_version (
    version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY
);
RESET ROLE;
REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM ingest_worker;
