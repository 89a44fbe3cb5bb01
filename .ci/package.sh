#!/usr/bin/env bash
# What a user of the published package does: installs the tarball into a fresh project, type-checks and runs the examples.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

npm run --silent build
npx publint --strict
npm pack --silent --pack-destination "$fresh" >/dev/null
cp examples/*.ts "$fresh/"
typescript=$(node -p 'require("typescript/package.json").version')

cd "$fresh"
printf '{ "name": "fresh", "private": true, "type": "module" }\n' >package.json
npm install --no-fund --no-audit --silent ./vmbus-*.tgz "typescript@$typescript" @types/node@20
# Nothing but strict: the types must need no flag of ours. `using` is newer than Node 20, so it is compiled down.
npx tsc --strict --target es2022 --lib es2023,esnext.disposable --module nodenext --types node --outDir out ./*.ts
for example in out/*.js; do
  printf -- '--- %s\n' "$example"
  node "$example"
done
npx vmbus --version
