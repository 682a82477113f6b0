#!/usr/bin/env bash
# Makes a source of the SCIM server, tests it, looks at it and aggregates it in full, as a delta, and in full again.
# Needs SAIL_BASE_URL, SAIL_CLIENT_ID, SAIL_CLIENT_SECRET, and server.mjs.
set -euo pipefail
cd "$(dirname "$0")"

muster() { node ../../bin/muster.js "$@"; }
url=http://127.0.0.1:3891/scim/v2
name="SCIM $(date +%s)-$$"
token=$(mktemp)
trap 'rm -f "$token"' EXIT
printf 'reader-token' > "$token"
# Changes something at the server, not at Muster.
scim() {
  curl -fsS -o /dev/null -H 'Authorization: Bearer reader-token' -H 'Content-Type: application/scim+json' "$@"
}

muster source create "$name" --connector scim --set url=$url --set pageSize=8 \
  --set authentication=bearer --secret token="$token"
muster source test "$name"
muster source peek "$name" --limit 2
muster aggregate --source "$name"
muster account list --source "$name"

# A delta reads who changed since.
scim -X PATCH "$url/Users/user-3" -d '{
  "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
  "Operations": [{ "op": "replace", "path": "title", "value": "Manager" }] }'
muster aggregate --source "$name" --mode delta

# Nobody tells a delta who is gone: a full read finds out.
scim -X DELETE "$url/Users/user-5"
muster aggregate --source "$name" --mode delta
muster aggregate --source "$name" --mode full
