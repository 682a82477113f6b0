// muster doctor on the side of the server: each thing that can be wrong is named with its way out, and no secret is shown.
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Finding } from '../../src/core/finding.ts'
import { examineServer } from '../../src/examine-server.ts'
import { lockFolder } from '../../src/store/folder-lock.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { emptyDatabase, testDatabase } from '../support/database.ts'
import { databaseUrl } from '../support/server-process.ts'

const undo: (() => Promise<unknown>)[] = []
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-doctor-'))
  undo.push(() => rm(folder, { recursive: true }))
})
afterEach(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

async function examine(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  const given = { MUSTER_PORT: '0', MUSTER_DATA_DIR: join(folder, 'data'), ...env }
  const findings = await examineServer(given)
  for (const { outcome, advice } of findings) expect(advice === null).toBe(outcome === 'ok')
  return findings
}

/** `name outcome` of all findings that are not in order. */
function bad(findings: readonly Finding[]): string[] {
  return findings
    .filter(({ outcome }) => outcome !== 'ok')
    .map(({ name, outcome }) => `${name} ${outcome}`)
}

function find(findings: readonly Finding[], name: string): string {
  return findings
    .filter((one) => one.name === name)
    .map((one) => `${one.finding} | ${one.advice}`)
    .join('\n')
}

describe('doctor', () => {
  it('finds nothing wrong before the first start, and runs the programs of the embedded database', async () => {
    const findings = await examine({})
    expect(bad(findings)).toEqual([])
    expect(find(findings, 'embedded database')).toMatch(
      /^postgres \(PostgreSQL\) 18\.\d+, not made/,
    )
    expect(find(findings, 'data folder')).toContain('will be made by `muster serve`')
    expect(find(findings, 'master key')).toContain('will be made')
  })

  it('says which setting cannot be used, and warns of one that nobody reads', async () => {
    const refused = await examine({ MUSTER_HOST: '0.0.0.0' })
    expect(bad(refused)).toEqual(['settings fail'])
    expect(find(refused, 'settings')).toMatch(/MUSTER_HOST is 0\.0\.0\.0.*\| Set MUSTER_TLS_CERT/)
    const odd = await examine({ MUSTER_PROT: '1' })
    expect(bad(odd)).toEqual(['settings warn'])
    expect(find(odd, 'settings')).toContain('Did you mean MUSTER_PORT?')
  })

  it('names who holds the data folder, and that a file is no folder', async () => {
    const dataDir = join(folder, 'data')
    await mkdir(dataDir)
    const lock = await lockFolder(dataDir)
    const held = await examine({})
    expect(find(held, 'data folder')).toContain(
      `in use by this process itself (pid ${process.pid})`,
    )
    await lock.release()
    expect(find(await examine({}), 'data folder')).toContain('no server runs on it')
    await writeFile(join(folder, 'file'), '')
    const wrong = await examine({ MUSTER_DATA_DIR: join(folder, 'file') })
    expect(bad(wrong)).toContain('data folder fail')
  })

  it('says when the disk has less space than is to be kept', async () => {
    const findings = await examine({ MUSTER_MIN_FREE_BYTES: String(2 ** 50) })
    expect(bad(findings)).toEqual(['disk fail'])
    expect(find(findings, 'disk')).toContain('MUSTER_MIN_FREE_BYTES')
  })

  it('tells a master key that others may read, that is damaged, and that is gone from one that is whole', async () => {
    const dataDir = join(folder, 'data')
    const key = generateMasterKey()
    await mkdir(join(dataDir, 'postgres'), { recursive: true })
    await writeFile(join(dataDir, 'key'), `${key}\n`, { mode: 0o600 })
    expect(bad(await examine({}))).toEqual([])
    await chmod(join(dataDir, 'key'), 0o644)
    const open = await examine({})
    expect(bad(open)).toEqual(['master key warn'])
    expect(find(open, 'master key')).toContain('chmod 600')
    expect(JSON.stringify(open)).not.toContain(key)
    await writeFile(join(dataDir, 'key'), 'half')
    expect(bad(await examine({}))).toEqual(['master key fail'])
    await rm(join(dataDir, 'key'))
    await writeFile(join(dataDir, 'postgres', 'PG_VERSION'), '18\n')
    const gone = await examine({})
    expect(bad(gone)).toEqual(['master key fail'])
    expect(find(gone, 'master key')).toContain('Restore the file from a backup')
  })

  it('says that a port is taken, for the management port too', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => {
      other.listen(0, '127.0.0.1', resolve)
    })
    undo.push(
      () =>
        new Promise((resolve) => {
          other.close(resolve)
        }),
    )
    const address = other.address()
    const port = String(address !== null && typeof address === 'object' ? address.port : 0)
    const findings = await examine({ MUSTER_PORT: port, MUSTER_MANAGEMENT_PORT: port })
    expect(bad(findings)).toEqual(['port fail', 'management port fail'])
    expect(find(findings, 'management port')).toContain('MUSTER_MANAGEMENT_PORT')
  })

  it('looks at certificate and key together, and at the days that are left', async () => {
    const made = (name: string, days: string): NodeJS.ProcessEnv => {
      const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)]
      const subject = ['-subj', '/CN=localhost', '-days', days, '-keyout', key, '-out', cert]
      execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject], {
        stdio: 'ignore',
      })
      return { MUSTER_TLS_CERT: cert, MUSTER_TLS_KEY: key }
    }
    const [long, short] = [made('long', '90'), made('short', '5')]
    expect(bad(await examine(long))).toEqual([])
    const soon = await examine(short)
    expect(bad(soon)).toEqual(['certificate warn'])
    expect(find(soon, 'certificate')).toContain('Renew it')
    const mixed = await examine({ ...long, MUSTER_TLS_KEY: short['MUSTER_TLS_KEY'] })
    expect(bad(mixed)).toEqual(['certificate fail'])
    expect(find(mixed, 'certificate')).toContain('is not the key of')
  })
})

describe('doctor and a database of ones own', () => {
  const MUSTER_KEY = generateMasterKey()

  it('tells version, rights and schema of one that is fine', async () => {
    const database = await testDatabase()
    undo.push(() => database.drop())
    const findings = await examine({ MUSTER_KEY, DATABASE_URL: databaseUrl(database.settings) })
    expect(bad(findings).filter((line) => line !== 'connections warn')).toEqual([])
    expect(find(findings, 'database')).toMatch(/is PostgreSQL 1\d/)
    expect(find(findings, 'database rights')).toContain('schema public')
    expect(find(findings, 'schema')).toContain('that of this version')
    expect(find(findings, 'database clock')).toContain('the same as ours')
  })

  it('names a newer schema, missing rights and a database that takes no writes', async () => {
    const database = await testDatabase()
    undo.push(() => database.drop())
    const DATABASE_URL = databaseUrl(database.settings)
    const name = new URL(DATABASE_URL).pathname.slice(1)
    await database.db.query(
      `insert into migration (number, name, sha256, applied_at) values (9999, 'x', 'x', now())`,
    )
    await database.db.query(`alter database ${name} set default_transaction_read_only = on`)
    const findings = await examine({ MUSTER_KEY, DATABASE_URL })
    expect(bad(findings)).toEqual(expect.arrayContaining(['database rights fail', 'schema fail']))
    expect(find(findings, 'schema')).toContain('a newer Muster made it (9999')
    expect(find(findings, 'database rights')).toContain('takes no writes')
  })

  it('names an encoding that holds no names', async () => {
    const database = await emptyDatabase()
    undo.push(() => database.drop())
    const url = databaseUrl(database.settings)
    const name = new URL(url).pathname.slice(1)
    await database.db.query(
      `create database ${name}_latin template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'`,
    )
    undo.push(() => database.db.query(`drop database ${name}_latin with (force)`))
    const findings = await examine({ MUSTER_KEY, DATABASE_URL: url.replace(name, `${name}_latin`) })
    expect(find(findings, 'database rights')).toContain('its encoding is LATIN1')
  })

  it('says why one cannot be reached, and never shows the password', async () => {
    const password = 'canary-password'
    const closed = await examine({
      MUSTER_KEY,
      DATABASE_URL: `postgres://muster:${password}@127.0.0.1:1/muster`,
    })
    expect(bad(closed)).toEqual(['database fail'])
    expect(find(closed, 'database')).toMatch(
      /^127\.0\.0\.1:1\/muster does not answer: .*ECONNREFUSED/,
    )
    expect(JSON.stringify(closed)).not.toMatch(new RegExp(`${password}|${MUSTER_KEY}`))
    const database = await emptyDatabase()
    undo.push(() => database.drop())
    const missing = await examine({
      MUSTER_KEY,
      DATABASE_URL: databaseUrl(database.settings).replace(/test_[0-9a-f]+/, 'nowhere'),
    })
    expect(find(missing, 'database')).toContain('there is no such database')
    const keyless = await examine({ DATABASE_URL: databaseUrl(database.settings) })
    expect(find(keyless, 'settings')).toContain('MUSTER_KEY is not')
  })
})
