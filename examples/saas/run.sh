#!/usr/bin/env bash
# Runs the connector on port 3000 (or another) with the official runner. Not by npx: that would start `tsc --watch` too.
set -euo pipefail
cd "$(dirname "$0")"
exec ../../node_modules/.bin/spcx run index.js "${1:-3000}"
