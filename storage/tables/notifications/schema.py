"""The tables of channels, alerts and deliveries."""

from __future__ import annotations

from typing import Final

__all__ = ["ALERT_SCHEMA", "CHANNEL_SCHEMA"]

CHANNEL_SCHEMA: Final = """
-- Where notifications go. `state`: live, asleep (a copy of the data must not notify), gone, failing. `keys`: keys of
-- the browser. `wants`: what its owner switched off is false there.
CREATE TABLE channel (
  channel_id    TEXT PRIMARY KEY,
  kind          TEXT NOT NULL,
  owner         TEXT NOT NULL,
  label         TEXT NOT NULL,
  address       TEXT NOT NULL UNIQUE,
  keys       BLOB NOT NULL,
  origin        TEXT,
  wants         TEXT NOT NULL,
  state         TEXT NOT NULL,
  problem       TEXT,
  retry_at_ms   INTEGER,
  created_at_ms INTEGER NOT NULL,
  seen_at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX channel_by_owner ON channel (owner, seen_at_ms);
INSERT INTO channel
  SELECT lower(hex(randomblob(16))), 'apns', owner, device_id, device_token, x'', NULL, '{}', 'live', NULL, NULL,
         registered_at_ms, registered_at_ms FROM notification;
DROP TABLE notification;

-- Whose device it is: an alert goes to the person who asked. A device that another one paired is the same person's.
ALTER TABLE device ADD COLUMN person TEXT NOT NULL DEFAULT 'owner';
"""

ALERT_SCHEMA: Final = """
-- TableReaders of all journals, and how far each has come.
CREATE TABLE consumer (
  name     TEXT PRIMARY KEY,
  position TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One thing that a person should know or decide. `step`: how far the ladder has come; it continues at due_at_ms.
CREATE TABLE alert (
  alert_id      TEXT PRIMARY KEY,
  session_id    TEXT NOT NULL,
  seq           INTEGER NOT NULL,
  kind          TEXT NOT NULL,
  subject       TEXT NOT NULL,
  author        TEXT,
  raised_at_ms  INTEGER NOT NULL,
  step          INTEGER NOT NULL,
  due_at_ms     INTEGER,
  settled_at_ms INTEGER,
  how           TEXT,
  by_device     TEXT,
  UNIQUE (session_id, kind, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_due ON alert (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX alert_open ON alert (session_id) WHERE settled_at_ms IS NULL;
CREATE INDEX alert_by_age ON alert (raised_at_ms, alert_id);

-- One alert for one channel, also where it is not sent: then `reason` says why. What is sent is `sending` before.
CREATE TABLE delivery (
  alert_id        TEXT NOT NULL,
  channel_id      TEXT NOT NULL,
  state           TEXT NOT NULL,
  reason          TEXT,
  tries           INTEGER NOT NULL,
  due_at_ms       INTEGER,
  status          INTEGER,
  sent_at_ms      INTEGER,
  shown_at_ms     INTEGER,
  acted_at_ms     INTEGER,
  withdrawn_at_ms INTEGER,
  PRIMARY KEY (alert_id, channel_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_due ON delivery (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX delivery_by_channel ON delivery (channel_id, shown_at_ms);
"""
