-- Personal access tokens: clients that people make for themselves, with an end and a lifetime of their access tokens.

alter table client add column is_personal boolean not null default false;
alter table client add column token_seconds integer not null default 43200;
alter table client add column expires_at timestamptz;
alter table client add column may_never_expire boolean not null default false;
alter table client add constraint client_token_seconds_check check (token_seconds between 15 and 43200);
comment on column client.is_personal is 'True for a personal access token: its identity is that of the client it was made through, and its rights are no more than that client had.';
comment on column client.token_seconds is 'How long an access token of it is good, in seconds, 15 to 43200.';
comment on column client.expires_at is 'From when on it obtains no token and its tokens are refused; null means never.';
comment on column client.may_never_expire is 'Whether its maker said to know that it may be good for ever (userAwareTokenNeverExpires).';

create index client_identity on client (identity_id) where is_personal and revoked_at is null;
comment on index client_identity is 'The personal access tokens of an identity.';
