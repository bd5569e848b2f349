#!/bin/sh
# A role and a database for each service, so that none can read what another keeps. Safe to repeat.
set -eu
PGUSER=${PGUSER:-${POSTGRES_USER:-postgres}}
export PGUSER
for name in prefect mlflow shop; do
  variable=$(echo "$name" | tr '[:lower:]' '[:upper:]')_DB_PASSWORD
  # psql reads the password from the environment: arguments are seen by everyone on the machine.
  psql --quiet --no-psqlrc --dbname postgres --set ON_ERROR_STOP=1 --set name="$name" --set variable="$variable" <<'SQL'
set client_min_messages = warning;
\getenv password :variable
select format('create role %I login', :'name') where not exists (select from pg_roles where rolname = :'name') \gexec
alter role :"name" password :'password';
-- An administrator who is no superuser, as on RDS, may make a database for its own roles only.
grant :"name" to current_user;
select format('create database %I owner %I', :'name', :'name')
  where not exists (select from pg_database where datname = :'name') \gexec
revoke all on database :"name" from public;
SQL
done
