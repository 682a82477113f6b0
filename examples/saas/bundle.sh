#!/usr/bin/env bash
# Makes a bundle of the connector in the data folder of Muster: one file, and the specification beside it.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder="${MUSTER_DATA_DIR:-muster-data}/connectors/example"
mkdir -p "$folder"
node_modules/.bin/rolldown examples/saas/index.js --platform node -f cjs -o "$folder/index.js"
cp examples/saas/connector-spec.json "$folder/"
