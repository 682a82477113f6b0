-- Staff, their groups, and those who left, with a login that may only read them. For PostgreSQL.
create schema staff;

create table staff.person (
  id int primary key,
  name text not null,
  mail text,
  active boolean not null default true,
  changed timestamptz not null default now()
);

create table staff.membership (
  person int not null references staff.person on delete cascade,
  team text not null,
  primary key (person, team)
);

create table staff.team (name text primary key, purpose text);

create table staff.left_us (id int not null, at timestamptz not null default now());

insert into staff.person (id, name, mail, active) values
  (1001, 'user1001', 'user1001@corp.example', true),
  (1002, 'user1002', 'user1002@corp.example', true),
  (1003, 'user1003', null, false);

insert into staff.team values ('payroll', 'Pays everybody'), ('support', 'Answers the telephone');
insert into staff.membership values (1001, 'payroll'), (1001, 'support'), (1002, 'support');

-- What Muster reads stands in a view, so that a change of the tables is no change of the source.
create view staff.account as
  select p.id, p.name, p.mail, not p.active as disabled, p.changed,
    array(select m.team from staff.membership m where m.person = p.id order by m.team) as teams
  from staff.person p;

create role muster_reader login password 'example-password';
grant usage on schema staff to muster_reader;
grant select on staff.account, staff.team, staff.left_us to muster_reader;
