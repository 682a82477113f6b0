-- Staff, their groups, and those who left, with a login that may only read them. For MariaDB and MySQL 8.
create database staff character set utf8mb4;
use staff;

create table person (
  id int primary key,
  name varchar(100) not null,
  mail varchar(200),
  active boolean not null default true,
  changed timestamp(6) not null default current_timestamp(6) on update current_timestamp(6)
);

create table membership (
  person int not null,
  team varchar(50) not null,
  primary key (person, team),
  foreign key (person) references person (id) on delete cascade
);

create table team (name varchar(50) primary key, purpose varchar(200));

create table left_us (id int not null, at timestamp(6) not null default current_timestamp(6));

insert into person (id, name, mail, active) values
  (1001, 'user1001', 'user1001@corp.example', true),
  (1002, 'user1002', 'user1002@corp.example', true),
  (1003, 'user1003', null, false);

insert into team values ('payroll', 'Pays everybody'), ('support', 'Answers the telephone');
insert into membership values (1001, 'payroll'), (1001, 'support'), (1002, 'support');

-- What Muster reads stands in a view, so that a change of the tables is no change of the source.
create view account as
  select p.id, p.name, p.mail, not p.active as disabled, p.changed,
    (select json_arrayagg(m.team) from membership m where m.person = p.id) as teams
  from person p;

create user muster_reader identified by 'example-password';
grant select on staff.account to muster_reader;
grant select on staff.team to muster_reader;
grant select on staff.left_us to muster_reader;
