-- Three accounts for one database that is ours alone: the owner makes and changes the tables, the worker reads and writes
-- rows, the reader reads. As an administrator, before the first migration or at any time after it, as often as you like:
--
--     mariadb < deploy/database/mariadb.sql
--
-- Each is locked until you give it a password:
--
--     ALTER USER 'ingest_owner'@'%' IDENTIFIED BY '...' ACCOUNT UNLOCK;
--
-- Addresses:
--
--     mysql+pymysql://ingest_owner:...@host/ingest     `chatflow-ingest db upgrade` and `downgrade`
--     mysql+pymysql://ingest_worker:...@host/ingest    workers, and commands that hand in, retry, cancel, prune
--     mysql+pymysql://ingest_reader:...@host/ingest    Flower, `metrics`, `status`, `results`, reports, your own SQL

CREATE DATABASE IF NOT EXISTS ingest;

CREATE USER IF NOT EXISTS 'ingest_owner'@'%' ACCOUNT LOCK;
CREATE USER IF NOT EXISTS 'ingest_worker'@'%' ACCOUNT LOCK;
CREATE USER IF NOT EXISTS 'ingest_reader'@'%' ACCOUNT LOCK;

GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW
    ON ingest.* TO 'ingest_owner'@'%';
-- MariaDB knows no exception to a grant, so the worker could write the tables' revision too, but not the tables' shape.
GRANT SELECT, INSERT, UPDATE, DELETE ON ingest.* TO 'ingest_worker'@'%';
GRANT SELECT ON ingest.* TO 'ingest_reader'@'%';
