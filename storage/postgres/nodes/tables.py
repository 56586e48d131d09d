"""The tables of the nodes: the servers that share a database."""

from __future__ import annotations

from typing import Final

__all__ = ["CHUNK_TABLE", "KEYS_CHANNEL", "NODE_COLUMNS", "NODE_TABLES"]

KEYS_CHANNEL: Final = "bos_keys"
"""Notified after a change of keys or codes."""

# A mail is small news between two nodes, and none is missed: the journal has all that counts. So `mail` is empty after
# a crash of the database. Its numbers are in a sequence of its own, since one of an unlogged table is lost when a
# standby is promoted. `key_version` rises in the transaction that changes a key, so who reads it has read the keys.
NODE_TABLES: Final = f"""
CREATE TABLE node (
  id          text COLLATE "C" PRIMARY KEY,
  home        text COLLATE "C" NOT NULL UNIQUE,
  incarnation bigint NOT NULL,
  version     text NOT NULL,
  lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE SEQUENCE mail_no;
CREATE UNLOGGED TABLE mail (
  number  bigint PRIMARY KEY DEFAULT nextval('mail_no'),
  node    text COLLATE "C" NOT NULL,
  sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  body    bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX mail_by_node ON mail (node, number);

ALTER TABLE removal ADD COLUMN owner text COLLATE "C" NOT NULL DEFAULT 'self';
CREATE INDEX session_by_owner ON session (owner);

INSERT INTO meta (key, value) VALUES ('key_version', '0');
CREATE FUNCTION bos_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE meta SET value = (value::bigint + 1)::text WHERE key = 'key_version';
  PERFORM pg_notify('{KEYS_CHANNEL}', '');
  RETURN NULL;
END $$;
CREATE TRIGGER device_changed AFTER INSERT OR UPDATE OR DELETE ON device
  FOR EACH ROW EXECUTE FUNCTION bos_keys_changed();
CREATE TRIGGER pairing_changed AFTER INSERT OR UPDATE OR DELETE ON pairing
  FOR EACH ROW EXECUTE FUNCTION bos_keys_changed();
"""

NODE_COLUMNS: Final = """
ALTER TABLE node ADD COLUMN name text NOT NULL DEFAULT '', ADD COLUMN connections bigint NOT NULL DEFAULT 0,
  ADD COLUMN is_first boolean NOT NULL DEFAULT false
"""
"""How nodes are, as each says of itself; since version 3."""

# Nothing of it is compressed: most files are, and mail is gone in a moment.
CHUNK_TABLE: Final = """
CREATE TABLE chunk (
  name   text COLLATE "C" NOT NULL REFERENCES upload ON DELETE CASCADE,
  number bigint NOT NULL,
  bytes  bytea NOT NULL,
  PRIMARY KEY (name, number)
);
ALTER TABLE chunk ALTER COLUMN bytes SET STORAGE EXTERNAL;
ALTER TABLE mail ALTER COLUMN body SET STORAGE EXTERNAL;
"""
"""The bytes of uploads that came to a node; since version 4."""
