#!/usr/bin/env bash
# Makes a source of a database that has the tables of this folder, and aggregates it: all, and then what changed.
# Usage: examples/sql/run.sh postgres://muster_reader@127.0.0.1:5432/postgres   (or mysql://muster_reader@127.0.0.1:3306/staff)
set -euo pipefail
cd "$(dirname "$0")/../.."

url=${1:?give the URL of the database}
case $url in
  postgres*) connector=postgresql tables=staff. ;;
  *) connector=mysql tables= ;;
esac
name="Staff in $connector"
muster() { npm exec --silent -- muster "$@"; }

printf '%s' "${DATABASE_PASSWORD:-example-password}" | muster source create "$name" \
  --connector "$connector" \
  --delete-threshold 50 \
  --set url="$url" \
  --set table="${tables}account" \
  --set indexColumn=id \
  --set disabledColumn=disabled \
  --set watermarkColumn=changed \
  --set tombstoneQuery="select id from ${tables}left_us where at >= :watermark" \
  --set entitlementQuery="select name, purpose from ${tables}team" \
  --secret password=-

muster source test "$name"
muster source discover "$name" --apply --prune
muster source peek "$name"
muster aggregate --source "$name"
muster aggregate --source "$name" --mode delta
muster account list --source "$name"
