#!/usr/bin/env bash
# Starts a standby of the database at $PRIMARY, with a copy of it if there is none yet. After `SELECT pg_promote()` it is the
# primary, and stays that.
set -euo pipefail
umask 077
export SECRETS=${SECRETS:-/run/secrets} PGPASSFILE=${PGPASSFILE:-/var/lib/postgresql/passfile}

printf '%s:*:*:replicator:%s\n' "$PRIMARY" "$(cat "$SECRETS/replication_password")" >"$PGPASSFILE"
if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
  pg_basebackup --host "$PRIMARY" --username replicator --pgdata "$PGDATA" --write-recovery-conf --checkpoint fast
fi

# The copy has the primary's wish for a standby. Promoted, this one would wait for its own, and nobody could write.
exec docker-entrypoint.sh postgres -c synchronous_standby_names= "$@"
