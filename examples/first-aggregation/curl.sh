#!/usr/bin/env bash
# Aggregates hr.csv with curl: token, source, upload, task, accounts. Needs SAIL_BASE_URL, SAIL_CLIENT_ID, SAIL_CLIENT_SECRET.
set -euo pipefail
cd "$(dirname "$0")"

# Reads one field of the JSON on stdin; node is there anyway, jq perhaps not.
field() { node -p "JSON.parse(require('fs').readFileSync(0, 'utf8'))$1"; }

token=$(curl -fsS "$SAIL_BASE_URL/oauth/token" \
  -d grant_type=client_credentials -d "client_id=$SAIL_CLIENT_ID" -d "client_secret=$SAIL_CLIENT_SECRET" |
  field .access_token)
api() { curl -fsS -H "Authorization: Bearer $token" "$@"; }

made=$(api "$SAIL_BASE_URL/v2025/sources?provisionAsCsv=true" -H 'Content-Type: application/json' \
  -d "{\"name\": \"HR by curl $(date +%s)-$$\", \"owner\": null, \"connector\": \"delimited-file-angularsc\"}")
source=$(field .id <<<"$made")
schema=$(field .schemas[0].id <<<"$made")
echo "source   $source"

# The file has a column more than the schema that a new source gets.
api -X PATCH "$SAIL_BASE_URL/v2025/sources/$source/schemas/$schema" -o /dev/null \
  -H 'Content-Type: application/json-patch+json' \
  -d '[{ "op": "add", "path": "/attributes/-", "value": { "name": "badge", "type": "INT" } }]'

task=$(api "$SAIL_BASE_URL/v2025/sources/$source/load-accounts" -F file=@hr.csv | field .task.id)
echo "task     $task"

while true; do
  status=$(api "$SAIL_BASE_URL/v2025/task-status/$task")
  [ "$(field .completionStatus <<<"$status")" = null ] || break
  sleep 0.2
done
echo "ended    $(field .completionStatus <<<"$status"), $(field .attributes.created <<<"$status") created"

api -G "$SAIL_BASE_URL/v2025/accounts" \
  --data-urlencode "filters=sourceId eq \"$source\"" --data-urlencode 'sorters=nativeIdentity' |
  field '.map((account) => "account  " + account.nativeIdentity + "  " + account.name).join("\n")'

# The badge of 1006 is no number.
api "$SAIL_BASE_URL/muster/v1/runs/$task/rejects" |
  field '.map((reject) => "reject   line " + reject.position + ": " + reject.reason).join("\n")'
