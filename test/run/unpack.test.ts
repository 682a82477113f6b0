// Uploads that are gzip: what they hold is loaded, and one that is cut, damaged or too large changes nothing (F19, S4).
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createGzip, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { RunError } from '../../src/core/errors.ts'
import { isGzip, unpack } from '../../src/run/unpack.ts'
import { accountsOf, type Laboratory, openLaboratory, runOf } from '../support/aggregation.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

const limit = 2_000_000
let test: TestDatabase
let lab: Laboratory
let folder = ''
beforeAll(async () => {
  test = await testDatabase()
  lab = await openLaboratory(test.db, { system: { maxReadBytes: limit } })
  folder = mkdtempSync(join(tmpdir(), 'muster-unpack-'))
})
afterAll(async () => {
  await lab.close()
  await test.drop()
  rmSync(folder, { recursive: true })
})

let files = 0
async function unpacked(content: Uint8Array, most = 1 << 30): Promise<Buffer> {
  files += 1
  const [path, target] = [join(folder, `${files}.gz`), join(folder, `${files}.csv`)]
  writeFileSync(path, content)
  expect(isGzip(path)).toBe(true)
  const bytes = await unpack(path, target, most, new AbortController().signal, () => undefined)
  const found = readFileSync(target)
  expect(found.length).toBe(bytes)
  return found
}

async function failure(content: Uint8Array, most?: number): Promise<RunError> {
  const error: unknown = await unpacked(content, most).then(
    () => null,
    (cause: unknown) => cause,
  )
  if (error instanceof RunError) return error
  throw new Error('it was unpacked', { cause: error })
}

describe('unpacking', () => {
  it('gives what was packed, of one member or several', async () => {
    const part = fc.tuple(fc.uint8Array({ maxLength: 3000 }), fc.constantFrom(0, 1, 9))
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 4 }), async (parts) => {
        const packed = parts.map(([bytes, level]) => gzipSync(bytes, { level }))
        expect(await unpacked(Buffer.concat(packed))).toEqual(
          Buffer.concat(parts.map(([bytes]) => bytes)),
        )
      }),
      { numRuns: 40 },
    )
  })

  it('refuses what is cut anywhere, and what has anything behind its end', async () => {
    const whole = gzipSync('id,name\n'.repeat(20))
    for (let length = 2; length < whole.length; length += 1) {
      const error = await failure(whole.subarray(0, length))
      expect([error.code, error.message]).toEqual(['bad_gzip', expect.stringContaining('cut')])
    }
    for (const behind of ['\0', '\0\0\0', 'x', '\x1f', 'garbage', '\x1f\x8bgarbage']) {
      const content = Buffer.concat([whole, Buffer.from(behind, 'latin1')])
      expect((await failure(content)).code).toBe('bad_gzip')
    }
  })

  it('refuses data and checksums in which a bit was turned', async () => {
    const whole = gzipSync('id,name\n1,x\n'.repeat(20))
    // Behind the ten bytes of the header, of which some mean nothing.
    for (let at = 10; at < whole.length; at += 1) {
      const content = Buffer.from(whole)
      content[at] = (content[at] ?? 0) ^ 0x10
      expect((await failure(content)).code).toBe('bad_gzip')
    }
  })

  it('stops at its limit in little memory, however much there is', async () => {
    const bomb = await zeros(1_500_000_000)
    expect(bomb.length).toBeLessThan(2_000_000)
    expect(await unpacked(gzipSync(Buffer.alloc(limit)), limit)).toHaveLength(limit)
    expect((await failure(gzipSync(Buffer.alloc(limit + 1)), limit)).code).toBe(
      'unpacked_too_large',
    )
    const before = process.memoryUsage().rss
    expect(await failure(bomb, 50_000_000)).toMatchObject({
      code: 'unpacked_too_large',
      message: 'The gzip file holds more than the limit of 50000000 bytes.',
    })
    expect(statSync(join(folder, `${files}.csv`)).size).toBeLessThanOrEqual(50_000_000)
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000)
  })

  it('ends with the reason of its signal', async () => {
    const [path, target] = [join(folder, 'stop.gz'), join(folder, 'stop.csv')]
    writeFileSync(path, gzipSync(Buffer.alloc(50_000_000)))
    const stop = new AbortController()
    const ended = unpack(path, target, 1 << 30, stop.signal, () => stop.abort(new Error('enough')))
    await expect(ended).rejects.toThrow('enough')
  })
})

async function zeros(length: number): Promise<Buffer> {
  const gzip = createGzip({ level: 9 })
  const chunks: Buffer[] = []
  gzip.on('data', (chunk: Buffer) => chunks.push(chunk))
  const block = Buffer.alloc(1 << 20)
  for (let written = 0; written < length; written += block.length) {
    if (!gzip.write(block)) await new Promise((resolve) => gzip.once('drain', resolve))
  }
  await new Promise<void>((resolve) => {
    gzip.on('end', resolve)
    gzip.end()
  })
  return Buffer.concat(chunks)
}

function spooled(): string[] {
  const place = lab.spool.reserve()
  return readdirSync(dirname(place.path)).filter((name) => name.startsWith('incoming-'))
}

const rows = Array.from({ length: 3000 }, (_, index) => `k${index},N${index},m${index}\n`)
const csv = `id,name,mail\n${rows.join('')}`

describe('a run of a gzip file', () => {
  it('does what the file does that was packed: rows, lines of rejects, and the next run', async () => {
    const source = await lab.createSource()
    const first = await lab.load(source.id, gzipSync(csv))
    expect(first).toMatchObject({ completionStatus: 'SUCCESS', attributes: { created: 3000 } })
    // Two members are one text; the second run goes by the offsets of what was unpacked.
    const changed = csv.replace('k2000,N2000,m2000', 'k2000,Other,"x"y')
    const cut = changed.indexOf('k1500')
    const members = [changed.slice(0, cut), changed.slice(cut)].map((text) => gzipSync(text))
    const second = await lab.load(source.id, Buffer.concat(members))
    expect(second.attributes).toMatchObject({ optimized: 2999, updated: 0, rejected: 1 })
    expect(second.messages[0]?.key).toContain('line 2002')
    const third = await lab.load(source.id, csv.replace('k7,N7', 'k7,Seven'))
    expect(third.attributes).toMatchObject({ optimized: 2999, updated: 1, deleted: 0 })
    // The ledger has the file as it was sent.
    expect((await runOf(lab.db, second.id))?.spoolBytes).toBe(Buffer.concat(members).length)
    expect(spooled()).toEqual([])
  })

  it.each([
    ['cut', (packed: Buffer) => packed.subarray(0, -9), 'it was cut'],
    [
      'with a wrong checksum',
      (packed: Buffer) => Buffer.concat([packed.subarray(0, -8), Buffer.alloc(8, 7)]),
      'Its checksum is wrong',
    ],
    [
      'with something behind its end',
      (packed: Buffer) => Buffer.concat([packed, Buffer.from('\nid,name')]),
      'something follows its end',
    ],
  ])('ends in ERROR and changes nothing when it is %s', async (_, damage, reason) => {
    const source = await lab.createSource()
    await lab.load(source.id, csv)
    const half = `id,name,mail\n${rows.slice(0, 2900).join('')}new,New,new\n`
    const task = await lab.load(source.id, damage(gzipSync(half)))
    expect(task.completionStatus).toBe('ERROR')
    expect(task.attributes['errorCode']).toBe('bad_gzip')
    expect(task.messages[0]?.key).toContain(reason)
    const accounts = await accountsOf(lab.db, source.id)
    expect(accounts).toHaveLength(3000)
    expect(accounts.some((account) => account.nativeIdentity === 'new')).toBe(false)
    expect(spooled()).toEqual([])
  })

  it('ends in ERROR when it holds more than an upload may, and leaves nothing on the disk', async () => {
    const source = await lab.createSource()
    await lab.load(source.id, 'id,name,mail\na,Ann,x\n')
    const task = await lab.load(source.id, gzipSync(`id,name,mail\n${'b,Bob,y\n'.repeat(300_000)}`))
    expect(task.attributes['errorCode']).toBe('unpacked_too_large')
    expect(task.messages[0]?.key).toContain(`more than the limit of ${limit} bytes`)
    expect((await accountsOf(lab.db, source.id)).map((one) => one.nativeIdentity)).toEqual(['a'])
    expect(spooled()).toEqual([])
  })

  it('ends in ERROR when what it holds is no such file', async () => {
    const source = await lab.createSource()
    const task = await lab.load(source.id, gzipSync('id,id\n1,2\n'))
    expect(task.attributes['errorCode']).toBe('bad_header')
    const packedTwice = await lab.load(source.id, gzipSync(gzipSync(csv)))
    expect(packedTwice.attributes['errorCode']).toBe('invalid_bytes')
    expect(spooled()).toEqual([])
  })
})
