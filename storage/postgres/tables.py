"""The tables in PostgreSQL: those of `storage.schema`, column for column, and what only PostgreSQL needs.

Keys sort by their bytes, as in SQLite. Numbers are `bigint`, flags too.
"""

from __future__ import annotations

from typing import Final

__all__ = ["TABLES"]

TABLES: Final = """
CREATE TABLE meta (key text COLLATE "C" PRIMARY KEY, value text NOT NULL);

CREATE TABLE session (
  session_id       text COLLATE "C" PRIMARY KEY,
  owner            text NOT NULL DEFAULT 'self',
  agent_type       text NOT NULL,
  device_id        text COLLATE "C" NOT NULL,
  settings         bytea NOT NULL,
  created_at_ms    bigint NOT NULL,
  last_activity_ms bigint NOT NULL,
  epoch            bigint NOT NULL DEFAULT 1,
  owner_epoch      bigint NOT NULL DEFAULT 0,
  head_seq         bigint NOT NULL DEFAULT 0,
  read_seq         bigint NOT NULL DEFAULT 0,
  workspace        text COLLATE "C" NOT NULL DEFAULT '',
  pinned           bigint NOT NULL DEFAULT 0,
  archived         bigint NOT NULL DEFAULT 0,
  hidden           bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX session_by_activity ON session (last_activity_ms, session_id);

CREATE TABLE removal (session_id text COLLATE "C" PRIMARY KEY);

CREATE TABLE summary (
  session_id    text COLLATE "C" PRIMARY KEY,
  snapshot_seq  bigint NOT NULL,
  title         text NOT NULL,
  state         text NOT NULL,
  message_count bigint NOT NULL,
  pending_count bigint NOT NULL,
  unfinished    bigint NOT NULL,
  hub_id        text,
  hub_seq       bigint NOT NULL,
  snapshot      bytea NOT NULL,
  shown         bytea,
  due_at_ms     bigint
) WITH (fillfactor = 50);
CREATE INDEX summary_unfinished ON summary (session_id) WHERE unfinished = 1;
CREATE INDEX summary_due ON summary (due_at_ms) WHERE due_at_ms IS NOT NULL;

CREATE TABLE draft (session_id text COLLATE "C" PRIMARY KEY, content text NOT NULL);

-- `xid`: the transaction that wrote the row. Numbers are given out before their commits, so only both together give an
-- order in which no later commit comes before a row that was read.
CREATE SEQUENCE commit_no;
CREATE TABLE journal (
  session_id text COLLATE "C" NOT NULL,
  seq        bigint NOT NULL,
  first_seq  bigint NOT NULL,
  at_ms      bigint NOT NULL,
  commit_no  bigint NOT NULL DEFAULT nextval('commit_no'),
  xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
  searchable bigint NOT NULL DEFAULT 0,
  kind       text COLLATE "C" NOT NULL,
  turn_id    text COLLATE "C",
  device_id  text COLLATE "C",
  payload    bytea NOT NULL,
  PRIMARY KEY (session_id, seq)
);
CREATE INDEX journal_message ON journal (session_id, seq) WHERE kind IN ('user_message', 'turn_started');
CREATE INDEX journal_turn ON journal (session_id, turn_id, seq) WHERE kind NOT IN ('message', 'thinking');
CREATE INDEX journal_rare ON journal (session_id, seq, kind)
  WHERE kind IN ('user_message', 'task_started', 'task_finished', 'permission_requested', 'permission_resolved');
CREATE INDEX journal_by_commit ON journal (xid, commit_no);

CREATE TABLE command (
  session_id text COLLATE "C" NOT NULL,
  command_id text COLLATE "C" NOT NULL,
  seq        bigint NOT NULL,
  state      text NOT NULL,
  PRIMARY KEY (session_id, command_id)
);

-- `rowid` is the commit_no of the journal row, as in SQLite.
CREATE TABLE search (
  rowid      bigint PRIMARY KEY,
  session_id text COLLATE "C" NOT NULL,
  seq        bigint NOT NULL,
  kind       text NOT NULL,
  text       text NOT NULL,
  words      tsvector NOT NULL
);
CREATE INDEX search_words ON search USING gin (words);

CREATE TABLE device (
  id            text COLLATE "C" PRIMARY KEY,
  name          text NOT NULL,
  scope         text NOT NULL,
  key_hash      bytea NOT NULL,
  created_at_ms bigint NOT NULL,
  revoked_at_ms bigint,
  person        text NOT NULL DEFAULT 'owner'
);
CREATE TABLE label (label text COLLATE "C" PRIMARY KEY, device_id text COLLATE "C" NOT NULL);
CREATE INDEX label_by_device ON label (device_id);

CREATE TABLE upload (
  name          text COLLATE "C" PRIMARY KEY,
  filename      text NOT NULL,
  mime_type     text NOT NULL,
  type          text NOT NULL,
  size          bigint NOT NULL,
  url           text NOT NULL,
  device_id     text NOT NULL,
  created_at_ms bigint NOT NULL,
  doomed        bigint NOT NULL DEFAULT 0
);
CREATE TABLE upload_use (
  session_id text COLLATE "C" NOT NULL,
  name       text COLLATE "C" NOT NULL,
  PRIMARY KEY (session_id, name)
);
CREATE INDEX upload_use_by_name ON upload_use (name);

CREATE TABLE agent_offer (agent_type text COLLATE "C" PRIMARY KEY, offer bytea NOT NULL);

CREATE TABLE pairing (
  code_hash     bytea PRIMARY KEY,
  name          text,
  scope         text NOT NULL,
  made_by       text COLLATE "C" NOT NULL,
  expires_at_ms bigint NOT NULL
);
CREATE INDEX pairing_by_maker ON pairing (made_by);

CREATE TABLE audit (
  number     bigint PRIMARY KEY,
  at_ms      bigint NOT NULL,
  act        text NOT NULL,
  device_id  text,
  address    text,
  session_id text,
  subject    text,
  count      bigint NOT NULL,
  hash       bytea NOT NULL
);

CREATE TABLE app_pair (
  device_id  text COLLATE "C" NOT NULL,
  session_id text COLLATE "C" NOT NULL,
  key_hash   bytea NOT NULL,
  used_at_ms bigint NOT NULL,
  PRIMARY KEY (device_id, session_id)
);
CREATE INDEX app_pair_by_use ON app_pair (used_at_ms);
CREATE TABLE app_exchange (
  number     bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  device_id  text COLLATE "C" NOT NULL,
  session_id text COLLATE "C" NOT NULL,
  message_id text COLLATE "C" NOT NULL UNIQUE,
  at_ms      bigint NOT NULL,
  told       bigint NOT NULL DEFAULT 0
);
CREATE INDEX app_exchange_by_pair ON app_exchange (device_id, session_id, number);
CREATE INDEX app_exchange_by_time ON app_exchange (at_ms);
CREATE TABLE app_known (
  session_id text COLLATE "C" PRIMARY KEY,
  blobs      text NOT NULL,
  burnt      bigint NOT NULL DEFAULT 0
);

CREATE TABLE channel (
  channel_id    text COLLATE "C" PRIMARY KEY,
  kind          text NOT NULL,
  owner         text COLLATE "C" NOT NULL,
  label         text NOT NULL,
  address       text COLLATE "C" NOT NULL UNIQUE,
  keys          bytea NOT NULL,
  origin        text,
  wants         text NOT NULL,
  state         text NOT NULL,
  problem       text,
  retry_at_ms   bigint,
  created_at_ms bigint NOT NULL,
  seen_at_ms    bigint NOT NULL
);
CREATE INDEX channel_by_owner ON channel (owner, seen_at_ms);

CREATE TABLE consumer (name text PRIMARY KEY, position text NOT NULL);
CREATE TABLE alert (
  alert_id      text COLLATE "C" PRIMARY KEY,
  session_id    text COLLATE "C" NOT NULL,
  seq           bigint NOT NULL,
  kind          text NOT NULL,
  subject       text NOT NULL,
  author        text,
  raised_at_ms  bigint NOT NULL,
  step          bigint NOT NULL,
  due_at_ms     bigint,
  settled_at_ms bigint,
  how           text,
  by_device     text,
  UNIQUE (session_id, kind, subject)
);
CREATE INDEX alert_due ON alert (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX alert_open ON alert (session_id) WHERE settled_at_ms IS NULL;
CREATE INDEX alert_by_age ON alert (raised_at_ms, alert_id);
CREATE TABLE delivery (
  alert_id        text COLLATE "C" NOT NULL,
  channel_id      text COLLATE "C" NOT NULL,
  state           text NOT NULL,
  reason          text,
  tries           bigint NOT NULL,
  due_at_ms       bigint,
  status          bigint,
  sent_at_ms      bigint,
  shown_at_ms     bigint,
  acted_at_ms     bigint,
  withdrawn_at_ms bigint,
  PRIMARY KEY (alert_id, channel_id)
);
CREATE INDEX delivery_due ON delivery (due_at_ms) WHERE due_at_ms IS NOT NULL;
CREATE INDEX delivery_by_channel ON delivery (channel_id, shown_at_ms);
"""
