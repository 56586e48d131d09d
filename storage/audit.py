"""Who came in, who tried to, and what was done that no journal keeps."""

from __future__ import annotations

__all__ = ["AUDIT_SCHEMA"]

AUDIT_SCHEMA = """
-- One row after the other, never changed; each one's hash covers the one before. The oldest go once there are
-- too many, and `meta` then says where the chain begins.
CREATE TABLE audit (
  number     INTEGER PRIMARY KEY,
  at_ms      INTEGER NOT NULL,
  act        TEXT NOT NULL,
  device_id  TEXT,
  address    TEXT,
  session_id TEXT,
  subject    TEXT,
  count      INTEGER NOT NULL,
  hash       BLOB NOT NULL
) STRICT;
"""
