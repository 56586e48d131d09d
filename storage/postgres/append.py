"""One append, as one call of a function in the database.

The function returns a code and does not raise for what a caller may do wrong, so in a batch of calls a refused one does
not undo its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from storage.errors import SessionMissing
from storage.postgres.writer import Call
from storage.records import Entry, Summary
from storage.tables.append import Append

__all__ = ["APPEND_FUNCTIONS", "append_call"]

_DONE, _MISSING, _REFUSED, _MISMATCH, _NO_SNAPSHOT = range(5)

SEARCHED_CHARS: Final = 100_000
"""Characters of a text that can be found: the words of one row take at most 1 MiB."""

# Words are letters and digits, without case and accents, as SQLite's index has them.
_FUNCTIONS: Final = r"""
CREATE FUNCTION bos_words(given text) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
  SELECT to_tsvector('pg_catalog.simple', regexp_replace(regexp_replace(lower(normalize(left(given, {SEARCHED}), NFD)),
    '[\u0300-\u036f]', '', 'g'), '[^[:alnum:]]+', ' ', 'g'))
$$;

CREATE FUNCTION bos_command(sid text, cid text, at_seq bigint, new_state text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO command (session_id, command_id, seq, state) VALUES (sid, cid, at_seq, coalesce(new_state, ''))
    ON CONFLICT (session_id, command_id) DO UPDATE SET state = coalesce(new_state, command.state)
$$;

-- Returns the code of `storage.postgres.append`, and what an error's text names. e_: entries; x_: texts to be found;
-- c_: commands; f_: folds; s_: the summary, with the numbers in the order of the statement below.
CREATE FUNCTION bos_append(sid text, grant_epoch bigint, expected bigint, head bigint, active bigint,
    e_seq bigint[], e_first bigint[], e_turn text[], e_kind text[], e_device text[], e_at bigint[], e_payload bytea[],
    x_seq bigint[], x_text text[], c_id text[], c_seq bigint[], c_state text[],
    f_seq bigint[], f_first bigint[], f_turn text[], f_kind text[], f_device text[], f_at bigint[], f_payload bytea[],
    f_text text[], f_command text[], f_state text[],
    s_title text, s_state text, s_hub text, s_numbers bigint[], s_snapshot bytea, s_shown bytea)
  RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE have_epoch bigint; have_head bigint; low bigint; high bigint; found_text bigint; number bigint;
BEGIN
  IF active IS NULL THEN
    UPDATE session SET head_seq = head WHERE session_id = sid AND owner_epoch = grant_epoch AND head_seq = expected;
  ELSE
    UPDATE session SET head_seq = head, last_activity_ms = active
      WHERE session_id = sid AND owner_epoch = grant_epoch AND head_seq = expected;
  END IF;
  IF NOT FOUND THEN
    SELECT owner_epoch, head_seq INTO have_epoch, have_head FROM session WHERE session_id = sid;
    IF NOT FOUND THEN RETURN ARRAY[{MISSING}]; END IF;
    RETURN ARRAY[{REFUSED}, have_epoch, have_head];
  END IF;
  IF e_seq IS NOT NULL THEN
    INSERT INTO journal (session_id, seq, first_seq, turn_id, kind, device_id, at_ms, payload, searchable)
      SELECT sid, e.*, (e.seq = ANY (x_seq) IS TRUE)::int
      FROM unnest(e_seq, e_first, e_turn, e_kind, e_device, e_at, e_payload)
        AS e(seq, first_seq, turn_id, kind, device_id, at_ms, payload);
  END IF;
  IF x_seq IS NOT NULL THEN
    INSERT INTO search (rowid, session_id, seq, kind, text, words)
      SELECT journal.commit_no, sid, journal.seq, journal.kind, x.text, bos_words(x.text)
      FROM unnest(x_seq, x_text) AS x(seq, text) JOIN journal ON journal.session_id = sid AND journal.seq = x.seq;
  END IF;
  FOR i IN 1 .. coalesce(array_length(c_id, 1), 0) LOOP
    PERFORM bos_command(sid, c_id[i], c_seq[i], c_state[i]);
  END LOOP;
  FOR i IN 1 .. coalesce(array_length(f_seq, 1), 0) LOOP
    SELECT min(first_seq), max(seq), max(searchable) INTO low, high, found_text FROM journal
      WHERE session_id = sid AND seq BETWEEN f_first[i] AND f_seq[i];
    IF low IS DISTINCT FROM f_first[i] OR high IS DISTINCT FROM f_seq[i] THEN
      RAISE EXCEPTION USING ERRCODE = 'BOS03', MESSAGE = i;
    END IF;
    IF found_text = 1 THEN
      DELETE FROM search WHERE rowid IN (SELECT commit_no FROM journal
        WHERE session_id = sid AND seq BETWEEN f_first[i] AND f_seq[i] AND searchable = 1);
    END IF;
    DELETE FROM journal WHERE session_id = sid AND seq BETWEEN f_first[i] AND f_seq[i];
    INSERT INTO journal (session_id, seq, first_seq, turn_id, kind, device_id, at_ms, payload, searchable)
      VALUES (sid, f_seq[i], f_first[i], f_turn[i], f_kind[i], f_device[i], f_at[i], f_payload[i],
        (f_text[i] IS NOT NULL)::int) RETURNING commit_no INTO number;
    IF f_text[i] IS NOT NULL THEN
      INSERT INTO search (rowid, session_id, seq, kind, text, words)
        VALUES (number, sid, f_seq[i], f_kind[i], f_text[i], bos_words(f_text[i]));
    END IF;
    IF f_command[i] IS NOT NULL THEN
      PERFORM bos_command(sid, f_command[i], f_seq[i], f_state[i]);
    END IF;
  END LOOP;
  IF s_title IS NULL THEN
    NULL;
  ELSIF s_snapshot IS NULL THEN
    UPDATE summary SET snapshot_seq = head, title = s_title, state = s_state, message_count = s_numbers[1],
      pending_count = s_numbers[2], unfinished = s_numbers[3], hub_id = s_hub, hub_seq = s_numbers[4],
      due_at_ms = s_numbers[5] WHERE session_id = sid;
    IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'BOS04'; END IF;
  ELSE
    INSERT INTO summary (session_id, snapshot_seq, title, state, hub_id, message_count, pending_count, unfinished,
        hub_seq, due_at_ms, snapshot, shown)
      VALUES (sid, head, s_title, s_state, s_hub, s_numbers[1], s_numbers[2], s_numbers[3], s_numbers[4],
        s_numbers[5], s_snapshot, s_shown)
      ON CONFLICT (session_id) DO UPDATE SET snapshot_seq = excluded.snapshot_seq, title = excluded.title,
        state = excluded.state, message_count = excluded.message_count, pending_count = excluded.pending_count,
        unfinished = excluded.unfinished, hub_id = excluded.hub_id, hub_seq = excluded.hub_seq,
        due_at_ms = excluded.due_at_ms, snapshot = excluded.snapshot, shown = excluded.shown;
  END IF;
  RETURN ARRAY[{DONE}];
EXCEPTION
  WHEN SQLSTATE 'BOS03' THEN RETURN ARRAY[{MISMATCH}, SQLERRM::bigint];
  WHEN SQLSTATE 'BOS04' THEN RETURN ARRAY[{NO_SNAPSHOT}];
END $$;
"""


def _filled(text: str) -> str:
    codes = {"DONE": _DONE, "MISSING": _MISSING, "REFUSED": _REFUSED, "MISMATCH": _MISMATCH}
    for name, value in {**codes, "NO_SNAPSHOT": _NO_SNAPSHOT, "SEARCHED": SEARCHED_CHARS}.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


APPEND_FUNCTIONS: Final = _filled(_FUNCTIONS)

_ROWS: Final = ("bigint[]", "bigint[]", "text[]", "text[]", "text[]", "bigint[]", "bytea[]")
_TYPES: Final = (
    *("text", "bigint", "bigint", "bigint", "bigint"),
    *(*_ROWS, "bigint[]", "text[]", "text[]", "bigint[]", "text[]"),
    *(*_ROWS, "text[]", "text[]", "text[]"),
    *("text", "text", "text", "bigint[]", "bytea", "bytea"),
)
_CALL: Final = f"SELECT bos_append({', '.join(f'${n}::{kind}' for n, kind in enumerate(_TYPES, start=1))})"


def append_call(job: Append) -> Call:
    """Return the call that stores an append; its result is the new head."""
    return Call(_CALL, partial(_bound, job), partial(_finish, job))


def _finish(job: Append, answer: list[int]) -> int:
    code, *rest = answer
    if code == _DONE:
        return job.head
    if code == _MISSING:
        raise SessionMissing(job.grant.session_id)
    if code == _REFUSED:
        raise job.refusal(*rest)
    raise job.mismatch(job.fold[rest[0] - 1]) if code == _MISMATCH else job.no_snapshot()


def _bound(job: Append) -> tuple[Any, ...]:
    head, seqs = job.head, [job.expected_seq]
    for entry in job.entries:
        seqs.append(seqs[-1] + entry.span)
    entries, ends, firsts = job.entries, seqs[1:], [seq + 1 for seq in seqs[:-1]]
    texts = [
        (seq, one.search_text) for seq, one in zip(ends, entries, strict=True) if one.search_text is not None
    ]
    acts = [
        (one.command_id, seq, one.command_state)
        for seq, one in zip(ends, entries, strict=True)
        if one.command_id is not None
    ]
    folded = [fold.entry for fold in job.fold]
    own = (job.grant.session_id, job.grant.owner_epoch, job.expected_seq, head, job.at_ms)
    return (
        *own,
        *_rows(entries, ends, firsts),
        *_columns(texts, 2),
        *_columns(acts, 3),
        *_rows(folded, [fold.last_seq for fold in job.fold], [fold.first_seq for fold in job.fold]),
        *_columns([(one.search_text, one.command_id, one.command_state) for one in folded], 3),
        *_summary(job.summary),
    )


def _rows(entries: Sequence[Entry], ends: list[int], firsts: list[int]) -> Iterable[list[Any] | None]:
    keys = zip(ends, firsts, entries, strict=True)
    return _columns(
        [(e, f, one.turn_id, one.kind, one.device_id, one.at_ms, one.payload) for e, f, one in keys], 7
    )


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> Iterable[list[Any] | None]:
    """Return rows as columns; without rows, no columns, which is cheaper to send than empty ones."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [None] * count


def _summary(summary: Summary | None) -> tuple[Any, ...]:
    if summary is None:
        return (None,) * 6
    numbers = [summary.message_count, summary.pending_count, int(summary.unfinished), summary.hub_seq]
    texts = (summary.title, summary.state, summary.hub_id)
    return (*texts, [*numbers, summary.due_at_ms], summary.snapshot, summary.shown)
