-- Where the reads of direct sources ended, so that the next one can ask for what changed since.

create table read_state (
  source_id   uuid primary key references source (id),
  cursor      jsonb       not null,
  seed        bytea       not null,
  run_number  bigint      not null,
  read_at     timestamptz not null default clock_timestamp()
);
comment on table read_state is 'Where the last applied read of a source ended; written in the transaction of its effect. Without a row the next read is full.';
comment on column read_state.source_id is 'The source.';
comment on column read_state.cursor is 'What the reader said, a JSON object in its own words.';
comment on column read_state.seed is 'A hash of connector, settings and schema: after a change of these a delta would miss accounts, and everything is read.';
comment on column read_state.run_number is 'The run whose effect it belongs to.';
comment on column read_state.read_at is 'When that effect was written.';

alter table run add column read jsonb;
comment on column run.read is 'What was read of the system of a direct source: mode, proof that nothing is missing, records, bytes, sha256 and columns; null for uploads.';
