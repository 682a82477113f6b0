-- How accounts of a source find their identities; every source has one configuration from its beginning.

create table correlation_config (
  source_id   uuid primary key references source (id),
  id          uuid        not null unique,
  name        text,
  assignments jsonb       not null default '[]',
  created_at  timestamptz not null default now(),
  modified_at timestamptz
);
comment on table correlation_config is 'By which attributes the accounts of a source are matched with identities.';
comment on column correlation_config.source_id is 'The source.';
comment on column correlation_config.id is 'The id; 32 hex digits on the wire. It never changes.';
comment on column correlation_config.name is 'The name as a client gave it; null is the name that follows from that of the source.';
comment on column correlation_config.assignments is 'The attribute assignments in their order.';
comment on column correlation_config.created_at is 'When the configuration was made.';
comment on column correlation_config.modified_at is 'When it was last replaced; null if never.';

insert into correlation_config (source_id, id) select id, gen_random_uuid() from source;
