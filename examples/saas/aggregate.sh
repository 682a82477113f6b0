#!/usr/bin/env bash
# Makes a source of the connector, tests it, takes its schemas and aggregates it. Arguments: url=http://127.0.0.1:3000 or
# bundle=connectors/example/index.js. Needs SAIL_BASE_URL, SAIL_CLIENT_ID, SAIL_CLIENT_SECRET.
set -euo pipefail
cd "$(dirname "$0")"

muster() { node ../../bin/muster.js "$@"; }
place=${1:-url=http://127.0.0.1:3000}
name="Example $(date +%s)-$$"
token=$(mktemp)
trap 'rm -f "$token"' EXIT
printf 'example-token' > "$token"

muster source create "$name" --connector saas --set "$place" \
  --set config.spConnEnableStatefulCommands=true --secret config.token="$token"
muster source test "$name"
muster source discover "$name" --apply --prune
muster source peek "$name" --limit 2
muster aggregate --source "$name"
muster account list --source "$name"
# Only what changed since the state that the connector gave.
muster aggregate --source "$name" --mode delta
