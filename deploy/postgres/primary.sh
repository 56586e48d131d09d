#!/usr/bin/env bash
# Runs once, when the first database is made: the role of the nodes, which owns their database and nothing else, the role of the
# standby, and that an acknowledged write is on two disks. That holds from the next start on, so nothing waits here.
set -euo pipefail
export SECRETS=${SECRETS:-/run/secrets}

psql --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set database_password `cat "$SECRETS/database_password"`
\set replication_password `cat "$SECRETS/replication_password"`
CREATE ROLE builderos LOGIN PASSWORD :'database_password';
CREATE DATABASE builderos OWNER builderos ENCODING 'UTF8' TEMPLATE template0;
CREATE ROLE replicator REPLICATION LOGIN PASSWORD :'replication_password';
ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)';
SQL

echo 'host replication replicator all scram-sha-256' >>"$PGDATA/pg_hba.conf"
