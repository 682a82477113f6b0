// Connectors have one way out: nothing in connect/ opens a socket but the files of `outbound`.
import { readdirSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const folder = fileURLToPath(new URL('../../src/connect/', import.meta.url))
const doors = /^outbound(?:-[a-z]+)?\.ts$/
/** What these modules have that opens nothing. */
const harmless = new Set(['isIP', 'isIPv4', 'isIPv6', 'rootCertificates'])

/** What a file could open a socket with. */
function openers(code: string): readonly string[] {
  const imports = code.matchAll(
    /import\s+(type\s+)?([^'"]*?)\s*from\s*'(node:(?:net|tls|http|https|http2|dgram|dns|dns\/promises))'/g,
  )
  const named = [...imports].flatMap(([, type, names = '', module]) =>
    type === undefined
      ? names
          .replaceAll(/[{}]/g, '')
          .split(',')
          .map((name) => name.trim())
          .filter((name) => name !== '' && !name.startsWith('type ') && !harmless.has(name))
          .map((name) => `${name} of ${module}`)
      : [],
  )
  const loaded = [...code.matchAll(/import\(\s*'node:(?:net|tls|http|https|http2|dgram|dns)/g)]
  const called = [...code.matchAll(/\b(?:fetch|new WebSocket|new EventSource)\(/g)]
  return [...named, ...[...loaded, ...called].map(([text]) => text)]
}

describe('the way out', () => {
  it('is the only one: no other file of connect/ can open a socket', () => {
    const files = readdirSync(folder).filter((file) => file.endsWith('.ts'))
    expect(files.filter((file) => doors.test(file)).length).toBeGreaterThan(3)
    const others = files
      .filter((file) => !doors.test(file))
      .flatMap((file) =>
        openers(readFileSync(`${folder}${file}`, 'utf8')).map(
          (name) => `${basename(file)}: ${name}`,
        ),
      )
    expect(others).toEqual([])
  })

  it('is missed by none of the ways to open one', () => {
    for (const code of [
      "import { connect } from 'node:net'",
      "import { isIP, connect as open, type Socket } from 'node:net'",
      "import tls from 'node:tls'",
      "import * as http from 'node:http'",
      "import {\n  request,\n} from 'node:https'",
      "import { lookup } from 'node:dns/promises'",
      "const net = await import('node:net')",
      'await fetch(url)',
    ]) {
      expect([code, openers(code).length]).toEqual([code, 1])
    }
    const harmlessCode = "import type { Socket } from 'node:net'\nimport { isIP } from 'node:net'"
    expect(openers(harmlessCode)).toEqual([])
  })
})
