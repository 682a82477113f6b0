#!/usr/bin/env bash
# Makes a source of the directory, tests it, looks at it and aggregates it. Needs SAIL_BASE_URL, SAIL_CLIENT_ID, SAIL_CLIENT_SECRET.
set -euo pipefail
cd "$(dirname "$0")"

muster() { node ../../bin/muster.js "$@"; }
name="Directory $(date +%s)-$$"
password=$(mktemp)
trap 'rm -f "$password"' EXIT
printf 'reader-secret' > "$password"

muster source create "$name" --connector ldap --set url="ldap://127.0.0.1:${LDAP_PORT:-3890}" \
  --set baseDns=ou=people,dc=example,dc=com --set groupBaseDns=ou=groups,dc=example,dc=com \
  --set bindDn=cn=reader,dc=example,dc=com --secret bindPassword="$password"
muster source test "$name"
muster source peek "$name" --limit 2
muster aggregate --source "$name"
muster account list --source "$name"
# Only what changed since; what was removed is found by the next full read.
muster aggregate --source "$name" --mode delta
