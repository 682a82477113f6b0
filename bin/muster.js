#!/usr/bin/env node
// The command `muster`. What it does is in src/cli/main.ts.
import { existsSync } from 'node:fs'

const compiled = new URL('../dist/cli/main.js', import.meta.url)

if (existsSync(compiled)) {
  const { main } = await import(compiled.href)
  await main(process.argv)
} else {
  process.stderr.write(
    'muster: it is not built yet.\n        Run `npm run build` in its folder first.\n',
  )
  process.exitCode = 1
}
