-- The tables of Muster. Rules that keep them ready for a distributed PostgreSQL are in docs/decisions/0003-distributed-ready-schema.md.

create table setting (
  name  text primary key,
  value text not null
);
comment on table setting is 'Facts about this deployment that are drawn once: its id and the key of the row fingerprints.';
comment on column setting.name is 'What the fact is.';
comment on column setting.value is 'The fact as text.';

create table sealed_secret (
  id          text primary key,
  wrapped_key bytea       not null,
  ciphertext  bytea       not null,
  created_at  timestamptz not null default now(),
  modified_at timestamptz not null default now()
);
comment on table sealed_secret is 'Secrets, each sealed by AES-256-GCM under a key of its own that the master key wraps.';
comment on column sealed_secret.id is 'Whose secret it is, for example source/<id>/<key>; it is the additional data of the seal, so a record moved to another id does not open.';
comment on column sealed_secret.wrapped_key is 'The data key of this record, sealed by the master key: nonce, ciphertext, tag.';
comment on column sealed_secret.ciphertext is 'The secret, sealed by the data key: nonce, ciphertext, tag.';
comment on column sealed_secret.created_at is 'When the secret was first stored.';
comment on column sealed_secret.modified_at is 'When the secret was last replaced or wrapped anew.';

create table signing_key (
  id         text primary key,
  public_jwk jsonb       not null,
  created_at timestamptz not null default now(),
  retired_at timestamptz
);
comment on table signing_key is 'Keys that sign access tokens; the private half is the sealed secret signing-key/<id>.';
comment on column signing_key.id is 'The kid of the tokens that it signs.';
comment on column signing_key.public_jwk is 'The public half as a JSON Web Key.';
comment on column signing_key.created_at is 'When the key was drawn; the newest key that is not retired signs.';
comment on column signing_key.retired_at is 'Since when the key neither signs nor verifies; null while it is good.';

create table identity (
  id          uuid primary key,
  name        text        not null,
  alias       text        not null,
  email       text,
  attributes  text        not null default '{}',
  created_at  timestamptz not null default now(),
  modified_at timestamptz not null default now()
);
comment on table identity is 'People and agents that own accounts or call the API.';
comment on column identity.id is 'The id; 32 hex digits on the wire.';
comment on column identity.name is 'The display name.';
comment on column identity.alias is 'The short name that scripts know the identity by.';
comment on column identity.email is 'The mail address, if known.';
comment on column identity.attributes is 'Further attributes as canonical JSON.';
comment on column identity.created_at is 'When the identity was made.';
comment on column identity.modified_at is 'When the identity was last changed.';

create table client (
  id           text primary key,
  name         text        not null,
  secret_salt  bytea       not null,
  secret_hash  bytea       not null,
  identity_id  uuid        not null references identity (id),
  level        text        not null,
  scopes       text[]      not null,
  source_ids   uuid[],
  created_at   timestamptz not null default now(),
  last_used_at timestamptz,
  revoked_at   timestamptz
);
comment on table client is 'OAuth clients: who may ask for an access token, and what the token may do.';
comment on column client.id is 'The client_id.';
comment on column client.name is 'What people call the client.';
comment on column client.secret_salt is 'Random bytes that the secret was hashed with.';
comment on column client.secret_hash is 'The salted hash of the client secret; the secret itself is shown once and not kept.';
comment on column client.identity_id is 'The identity that acts when the client calls.';
comment on column client.level is 'The user level, for example ORG_ADMIN or SOURCE_SUBADMIN.';
comment on column client.scopes is 'The scopes its tokens carry; sp:scopes:all is everything that the level allows.';
comment on column client.source_ids is 'The sources it is confined to; null means all.';
comment on column client.created_at is 'When the client was made.';
comment on column client.last_used_at is 'When it last obtained a token; null if never.';
comment on column client.revoked_at is 'Since when it obtains no token and its tokens are refused; null while it is good.';

create table audit (
  number      bigint generated always as identity primary key,
  at          timestamptz not null default clock_timestamp(),
  action      text        not null,
  outcome     text        not null,
  actor_id    text,
  actor_name  text,
  client_id   text,
  target_type text,
  target_id   text,
  target_name text,
  tracking_id text,
  before      jsonb,
  after       jsonb,
  detail      text
);
create index audit_at on audit (at);
create index audit_target on audit (target_type, target_id);
comment on table audit is 'Who did what, when, with the state before and after; rows are added and never changed.';
comment on column audit.number is 'The order of the rows.';
comment on column audit.at is 'When it happened.';
comment on column audit.action is 'What was done, for example SOURCE_CREATED or SOURCE_ACCOUNT_AGGREGATION_STARTED.';
comment on column audit.outcome is 'success, denied or failed.';
comment on column audit.actor_id is 'The identity that acted; null for Muster itself or an unknown caller.';
comment on column audit.actor_name is 'The name of that identity at the time.';
comment on column audit.client_id is 'The OAuth client that it acted through.';
comment on column audit.target_type is 'The kind of thing it was done to, for example SOURCE.';
comment on column audit.target_id is 'The id of that thing.';
comment on column audit.target_name is 'The name of that thing at the time.';
comment on column audit.tracking_id is 'The tracking id of the request, the same as in the response and the log.';
comment on column audit.before is 'The thing before, secrets masked, without account values; null when it was made.';
comment on column audit.after is 'The thing after, secrets masked, without account values; null when it was removed.';
comment on column audit.detail is 'A sentence for people, for example why a call was denied.';

create function audit_is_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'the audit table is append-only';
end
$$;
comment on function audit_is_append_only() is 'Refuses every change of the audit but a new row.';
create trigger audit_append_only before update or delete or truncate on audit
  for each statement execute function audit_is_append_only();

create table source (
  id                   uuid primary key,
  name                 text        not null,
  name_key             text        not null,
  description          text,
  owner_id             uuid,
  type                 text        not null,
  connector            text        not null,
  connection_type      text        not null,
  connector_attributes jsonb       not null default '{}',
  features             text[]      not null default '{}',
  delete_threshold     integer,
  authoritative        boolean     not null default false,
  status               text        not null,
  healthy              boolean     not null default false,
  since                timestamptz not null,
  category             text,
  extra                jsonb       not null default '{}',
  settings             jsonb       not null default '{}',
  accounts             bigint      not null default 0,
  accounts_version     bigint      not null default 0,
  loaded_seed          bytea,
  created_at           timestamptz not null default now(),
  modified_at          timestamptz not null default now(),
  deleted_at           timestamptz
);
create unique index source_name_key on source (name_key) where deleted_at is null;
create unique index source_account_prefix on source (substring(uuid_send(id) from 1 for 6));
comment on table source is 'One system that accounts are read from. Every writer of accounts of a source locks its row here first.';
comment on column source.id is 'The id; its first 6 bytes, unique among all sources ever made, begin the ids of its accounts.';
comment on column source.name is 'The name as given.';
comment on column source.name_key is 'The name folded to lower case, by which names are unique.';
comment on column source.description is 'What the source is for.';
comment on column source.owner_id is 'The identity that owns it.';
comment on column source.type is 'The type of ISC, for example DelimitedFile.';
comment on column source.connector is 'The kind of reader, for example delimited-file-angularsc.';
comment on column source.connection_type is 'file or direct.';
comment on column source.connector_attributes is 'The settings of the connector without its secrets, which are sealed.';
comment on column source.features is 'The features that ISC lists.';
comment on column source.delete_threshold is 'More removals than this percentage are skipped; null means 10.';
comment on column source.authoritative is 'Whether accounts of this source make identities.';
comment on column source.status is 'The source state of ISC.';
comment on column source.healthy is 'Whether the last read went well.';
comment on column source.since is 'Since when the status holds.';
comment on column source.category is 'The category of ISC.';
comment on column source.extra is 'References that are kept for clients as they were given: cluster, rules, mappings, policies.';
comment on column source.settings is 'Settings that ISC does not have: whenBusy and the like.';
comment on column source.accounts is 'How many accounts there are; kept by every writer, never counted.';
comment on column source.accounts_version is 'Grows by one with every write to the accounts of this source; a plan made against an older one is made anew.';
comment on column source.loaded_seed is 'What the fingerprints of the last applied run were seeded with; null before the first.';
comment on column source.created_at is 'When the source was made.';
comment on column source.modified_at is 'When the source was last changed by a person.';
comment on column source.deleted_at is 'When the source was deleted; the row stays, so that its account ids are never given to another.';

create table source_schema (
  id                  uuid primary key,
  source_id           uuid        not null references source (id),
  name                text        not null,
  native_object_type  text,
  identity_attribute  text,
  display_attribute   text,
  hierarchy_attribute text,
  include_permissions boolean     not null default false,
  features            text[]      not null default '{}',
  configuration       jsonb       not null default '{}',
  attributes          jsonb       not null default '[]',
  created_at          timestamptz not null default now(),
  modified_at         timestamptz,
  unique (source_id, name)
);
comment on table source_schema is 'What attributes an account or an entitlement of a source may have.';
comment on column source_schema.id is 'The id; 32 hex digits on the wire.';
comment on column source_schema.source_id is 'The source.';
comment on column source_schema.name is 'account, group, or another object type.';
comment on column source_schema.native_object_type is 'What the system calls such objects.';
comment on column source_schema.identity_attribute is 'The attribute that is the native identity.';
comment on column source_schema.display_attribute is 'The attribute that is the name.';
comment on column source_schema.hierarchy_attribute is 'The attribute that names the parents of a group.';
comment on column source_schema.include_permissions is 'Whether direct permissions are read.';
comment on column source_schema.features is 'The features that ISC lists.';
comment on column source_schema.configuration is 'Settings that are kept as they were given.';
comment on column source_schema.attributes is 'The attribute definitions in order.';
comment on column source_schema.created_at is 'When the schema was made.';
comment on column source_schema.modified_at is 'When the schema was last changed; null if never.';

create table task (
  id                uuid primary key,
  number            bigint generated always as identity unique,
  type              text        not null,
  state             text        not null,
  source_id         uuid,
  source_name       text,
  launcher          text        not null,
  launcher_id       text,
  client_id         text,
  submit_key        text,
  completion_status text,
  messages          jsonb       not null default '[]',
  attributes        jsonb       not null default '{}',
  progress          text,
  percent_complete  integer     not null default 0,
  attempt           integer     not null default 0,
  given_up          integer     not null default 0,
  cancel_by         text,
  created_at        timestamptz not null default clock_timestamp(),
  launched_at       timestamptz,
  completed_at      timestamptz,
  modified_at       timestamptz not null default clock_timestamp(),
  constraint task_state check (state in ('queued', 'collecting', 'planned', 'held', 'applying',
    'completed', 'refused', 'failed', 'cancelled')),
  constraint task_completion check ((completed_at is null) = (completion_status is null))
);
create unique index task_one_run_per_source on task (source_id)
  where state in ('collecting', 'planned', 'held', 'applying') and source_id is not null;
create unique index task_open_submit on task (submit_key)
  where submit_key is not null and completed_at is null;
create index task_queue on task (number) where completed_at is null;
create index task_created on task (created_at, id);
create index task_source on task (source_id, created_at);
comment on table task is 'Everything that runs, and the queue of it: aggregations, removals. What task-status shows.';
comment on column task.id is 'The id; 32 hex digits on the wire. It is the id of the run too.';
comment on column task.number is 'The order of the tasks; rows of accounts name the run that wrote them by it.';
comment on column task.type is 'CLOUD_ACCOUNT_AGGREGATION, ACCOUNT_DELETION and so on, as the filter of task-status knows them.';
comment on column task.state is 'queued, collecting, planned, held, applying; at the end completed, refused, failed or cancelled.';
comment on column task.source_id is 'The source it works on.';
comment on column task.source_name is 'The name of that source at the time.';
comment on column task.launcher is 'The name of who started it.';
comment on column task.launcher_id is 'The identity that started it.';
comment on column task.client_id is 'The OAuth client that it was started through.';
comment on column task.submit_key is 'A digest of client, source, fields and file; a second submit with the same key is a retry while the task is open.';
comment on column task.completion_status is 'SUCCESS, WARNING, ERROR, TERMINATED or TEMPERROR; null until the end.';
comment on column task.messages is 'What the task has to say: type, key, parameters.';
comment on column task.attributes is 'Counters and facts under the names that clients read.';
comment on column task.progress is 'What it is doing, as a sentence.';
comment on column task.percent_complete is 'How far it is, 0 to 100.';
comment on column task.attempt is 'How often a worker took it; also the fencing token of the one that has it now.';
comment on column task.given_up is 'How many of these attempts ended because the server was stopped in good order; they do not count as failed.';
comment on column task.cancel_by is 'Who asked for it to be cancelled; null if nobody.';
comment on column task.created_at is 'When it was submitted.';
comment on column task.launched_at is 'When a worker first took it.';
comment on column task.completed_at is 'When it ended.';
comment on column task.modified_at is 'When this row last changed.';

create table lease (
  task_id    uuid primary key references task (id),
  holder     text        not null,
  fence      integer     not null,
  expires_at timestamptz not null
);
comment on table lease is 'Which worker has a task, until when. Renewed in database time; the apply transaction never locks it.';
comment on column lease.task_id is 'The task.';
comment on column lease.holder is 'The process that has it.';
comment on column lease.fence is 'The attempt of the task that this lease belongs to; an older attempt may not write.';
comment on column lease.expires_at is 'When another worker may take the task.';

create table run (
  task_id         uuid primary key references task (id),
  number          bigint      not null unique,
  source_id       uuid        not null,
  node            text        not null,
  spool_file      text,
  spool_bytes     bigint,
  spool_sha256    bytea,
  file_name       text,
  fields          jsonb       not null default '{}',
  settings        jsonb,
  phases          jsonb       not null default '[]',
  counters        jsonb       not null default '{}',
  verdict         jsonb,
  staged_rows     bigint,
  base_version    bigint,
  baseline        boolean     not null default false,
  feed_number     bigint unique,
  applied_at      timestamptz
);
create index run_source on run (source_id, number);
create index run_spooled on run (node) where spool_file is not null;
comment on table run is 'The ledger: one row for each aggregation, kept for ever.';
comment on column run.task_id is 'The task it is.';
comment on column run.number is 'The number of the task, by which rows of accounts name the run.';
comment on column run.source_id is 'The source that was read.';
comment on column run.node is 'The node that holds the spool file; only that node collects it.';
comment on column run.spool_file is 'The name of the spool file below the spool folder; null when it is gone or there was none.';
comment on column run.spool_bytes is 'The length of the upload in bytes.';
comment on column run.spool_sha256 is 'The digest of the upload.';
comment on column run.file_name is 'The name that the client gave the file: a label, never a path.';
comment on column run.fields is 'The form fields of the submit.';
comment on column run.settings is 'The settings of source and schema as they were when the run began to collect.';
comment on column run.phases is 'The phases with their start, end and rows.';
comment on column run.counters is 'What was read, created, updated, removed and so on.';
comment on column run.verdict is 'What the guards said of the plan.';
comment on column run.staged_rows is 'How many rows were staged, recorded before the plan; counted again before the apply, because a crash of the server empties unlogged tables.';
comment on column run.base_version is 'The accounts_version of the source that the plan was made against.';
comment on column run.baseline is 'True for a first load: all rows that this run opened were created by it, and account_change has no rows of it.';
comment on column run.feed_number is 'The place of the run in the order of commits, given as the last statement before the commit; null until then.';
comment on column run.applied_at is 'The instant of the effect; null until then.';

create table node (
  id      text primary key,
  seen_at timestamptz not null default clock_timestamp()
);
comment on table node is 'The spool folders that a living process serves; a run whose node is gone longer than the lease ends.';
comment on column node.id is 'The id that lies in the spool folder.';
comment on column node.seen_at is 'When a process that serves it last said so.';

create table feed_counter (
  single boolean primary key default true check (single),
  value  bigint not null
);
insert into feed_counter (value) values (0);
comment on table feed_counter is 'One row: the last feed number. Locked until commit, so numbers are visible in their order.';
comment on column feed_counter.single is 'Keeps the table to one row.';
comment on column feed_counter.value is 'The last feed number that was given.';

create table reject (
  task_id         uuid    not null references task (id),
  number          integer not null,
  position        bigint  not null,
  code            text    not null,
  reason          text    not null,
  raw             text    not null,
  account_id      uuid,
  native_identity text,
  trusted         boolean not null,
  primary key (task_id, number)
);
create index reject_account on reject (task_id, account_id);
comment on table reject is 'Records that could not be taken, each with its place, the reason and the raw text.';
comment on column reject.task_id is 'The run.';
comment on column reject.number is 'The order of the rejects of a run, from 1.';
comment on column reject.position is 'Where the record begins: the line of a file, counted from 1.';
comment on column reject.code is 'A short name of the reason.';
comment on column reject.reason is 'The reason as a sentence that names the column and the value.';
comment on column reject.raw is 'The record as it was read; NUL is written as U+2400, and it is cut at 64 KiB.';
comment on column reject.account_id is 'The account that the record speaks of, if its identity is readable; that account is neither updated nor removed.';
comment on column reject.native_identity is 'The identity as read, if it is readable.';
comment on column reject.trusted is 'Whether that identity can be trusted; a run with a reject that cannot removes nothing.';

create table account (
  id              uuid    not null,
  fingerprint     bigint,
  opened_run      bigint  not null,
  created_run     bigint,
  key_hash        integer not null,
  disabled        boolean not null default false,
  locked          boolean not null default false,
  native_identity text    collate "C" not null,
  name            text    collate "C",
  stable_key      text    collate "C",
  attributes      text    collate "C" not null,
  primary key (id)
) partition by range (id);
comment on table account is 'The accounts as of the last applied run of their source; one partition a source.';
comment on column account.id is '6 bytes of the source id, then 10 bytes of the sha256 of the stable key.';
comment on column account.fingerprint is 'The keyed sum over the raw rows it was made from; null when it can match no row, so that the account is compared by its values.';
comment on column account.opened_run is 'The number of the run that wrote this version; with the id it names the version.';
comment on column account.created_run is 'The number of the run that created the account; null while this is its first version.';
comment on column account.key_hash is 'A keyed hash of the stable key; its low bits are the bucket of the account.';
comment on column account.disabled is 'Whether the account is disabled in its system.';
comment on column account.locked is 'Whether the account is locked in its system.';
comment on column account.native_identity is 'The identity as the system writes it.';
comment on column account.name is 'The display name; null when it is blank.';
comment on column account.stable_key is 'The key that the id is made of; null when it is the native identity.';
comment on column account.attributes is 'The attributes as canonical JSON: keys sorted, multi-values distinct and sorted; equal text means unchanged.';

create table account_history (
  id              uuid    not null,
  opened_run      bigint  not null,
  closed_run      bigint  not null,
  removed         boolean not null,
  created_run     bigint,
  disabled        boolean not null,
  locked          boolean not null,
  native_identity text    collate "C" not null,
  name            text    collate "C",
  stable_key      text    collate "C",
  attributes      text    collate "C" not null,
  primary key (id, opened_run)
);
create index account_history_opened on account_history (opened_run, id);
comment on table account_history is 'Versions of accounts that were superseded or removed, with the runs that opened and closed them.';
comment on column account_history.id is 'The account.';
comment on column account_history.opened_run is 'The run that wrote this version.';
comment on column account_history.closed_run is 'The run that ended it.';
comment on column account_history.removed is 'Whether that run removed the account; otherwise it wrote the next version.';
comment on column account_history.created_run is 'The run that created the account; null when this was its first version.';
comment on column account_history.disabled is 'As in account.';
comment on column account_history.locked is 'As in account.';
comment on column account_history.native_identity is 'As in account.';
comment on column account_history.name is 'As in account.';
comment on column account_history.stable_key is 'As in account.';
comment on column account_history.attributes is 'As in account.';

create table account_change (
  run_number bigint not null,
  account_id uuid   not null,
  kind       text   not null,
  primary key (run_number, account_id),
  constraint account_change_kind check (kind in ('created', 'updated', 'removed'))
);
comment on table account_change is 'Which accounts a run changed: its plan as it was applied. A first load has no rows here, see run.baseline.';
comment on column account_change.run_number is 'The run.';
comment on column account_change.account_id is 'The account.';
comment on column account_change.kind is 'created, updated or removed.';

create table account_link (
  account_id  uuid   not null primary key,
  identity_id uuid   not null,
  match       text   not null,
  opened_run  bigint not null,
  constraint account_link_match check (match in ('matched', 'manual'))
);
create index account_link_identity on account_link (identity_id, account_id);
comment on table account_link is 'Which identity owns an account. Narrow, so that correlating a million accounts rewrites no wide row.';
comment on column account_link.account_id is 'The account.';
comment on column account_link.identity_id is 'The identity.';
comment on column account_link.match is 'matched by a criterion, or manual; a manual link is kept by every run.';
comment on column account_link.opened_run is 'The run or task that made the link.';

create table account_link_history (
  account_id  uuid   not null,
  identity_id uuid   not null,
  match       text   not null,
  opened_run  bigint not null,
  closed_run  bigint not null,
  primary key (account_id, opened_run)
);
comment on table account_link_history is 'Links that were replaced or ended, with the runs that opened and closed them.';
comment on column account_link_history.account_id is 'The account.';
comment on column account_link_history.identity_id is 'The identity.';
comment on column account_link_history.match is 'How it was matched.';
comment on column account_link_history.opened_run is 'The run or task that made the link.';
comment on column account_link_history.closed_run is 'The run or task that ended it.';
