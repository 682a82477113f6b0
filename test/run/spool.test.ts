import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openSpool } from '../../src/run/spool.ts'

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'muster-spool-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

async function* chunksOf(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk
}

const open = (shared = false): ReturnType<typeof openSpool> => openSpool({ dir, shared })
const files = async (): Promise<string[]> =>
  (await readdir(dir)).filter((name) => name !== 'node-id')

describe('the spool', () => {
  it('keeps what it received, with its length and digest', async () => {
    const spool = await open()
    const received = await spool.receive(chunksOf('id,name\n', '1,Ada\n'), 1000)
    const text = 'id,name\n1,Ada\n'
    expect(await readFile(spool.path(received.name), 'utf8')).toBe(text)
    expect(received.bytes).toBe(text.length)
    expect(received.sha256).toBe(createHash('sha256').update(text).digest('hex'))
    expect(Buffer.from(received.head).toString()).toBe(text)
  })

  it('keeps the bytes in order whatever pieces they come in', async () => {
    const spool = await open()
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 40 }),
        async (pieces) => {
          const received = await spool.receive(chunksOf(...pieces), 1_000_000)
          const kept = await readFile(spool.path(received.name))
          await spool.remove(received.name)
          expect(kept.equals(Buffer.concat(pieces))).toBe(true)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('writes thousands of tiny pieces and pieces of many megabytes', async () => {
    const spool = await open()
    const tiny = Array.from({ length: 5000 }, (_, at) => Buffer.from([at % 251]))
    const large = [Buffer.alloc(5_000_000, 'a'), Buffer.alloc(3_000_000, 'b')]
    for (const pieces of [tiny, large]) {
      const received = await spool.receive(chunksOf(...pieces), 100_000_000)
      expect((await readFile(spool.path(received.name))).equals(Buffer.concat(pieces))).toBe(true)
    }
  })

  it('takes a file of exactly the limit and leaves nothing of one byte more', async () => {
    const spool = await open()
    const received = await spool.receive(chunksOf('12345', '67890'), 10)
    expect(received.bytes).toBe(10)
    await spool.remove(received.name)
    await expect(spool.receive(chunksOf('12345', '678901'), 10)).rejects.toMatchObject({
      code: 'too_large',
      message: expect.stringContaining('10 bytes'),
    })
    expect(await files()).toEqual([])
  })

  it('leaves nothing of a stream that breaks', async () => {
    const spool = await open()
    async function* breaking(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(3_000_000)
      throw new Error('the client went away')
    }
    await expect(spool.receive(breaking(), 1e9)).rejects.toThrow('the client went away')
    expect(await files()).toEqual([])
  })

  it('says that the disk is full instead of failing for an unknown reason', async () => {
    const spool = await openSpool({ dir, shared: false })
    async function* full(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(10)
      throw Object.assign(new Error('write ENOSPC'), { code: 'ENOSPC' })
    }
    await expect(spool.receive(full(), 1e9)).rejects.toMatchObject({
      code: 'no_space',
      status: 507,
    })
    expect(await files()).toEqual([])
  })

  it('has the same node id after a restart, and one for two starts at once', async () => {
    const started = await Promise.all([open(), open(), open(), open()])
    const ids = new Set([...started, await open()].map((spool) => spool.node))
    expect(ids.size).toBe(1)
    expect([...ids][0]).toMatch(/^[0-9a-f]{32}$/)
    expect(await files()).toEqual([])
  })

  it('draws a new node id where the file was left empty by a crash', async () => {
    await writeFile(join(dir, 'node-id'), 'x')
    const first = await open()
    expect(first.node).toMatch(/^[0-9a-f]{32}$/)
    expect((await open()).node).toBe(first.node)
  })

  it('is called shared where all hosts see one folder', async () => {
    expect((await open(true)).node).toBe('shared')
  })

  it('sweeps old files that no run needs and keeps the others', async () => {
    const spool = await open()
    const needed = await spool.receive(chunksOf('a'), 10)
    const orphan = await spool.receive(chunksOf('b'), 10)
    const fresh = await spool.receive(chunksOf('c'), 10)
    const partial = `incoming-${'0'.repeat(32)}.part`
    await writeFile(join(dir, partial), 'cut')
    await writeFile(join(dir, 'a file of somebody else'), '')
    const old = new Date(Date.now() - 60_000)
    for (const name of [needed.name, orphan.name, partial, 'a file of somebody else']) {
      await utimes(join(dir, name), old, old)
    }
    expect(await spool.sweep(new Set([needed.name]), 30_000)).toBe(2)
    const expected = [needed.name, fresh.name, 'a file of somebody else']
    expect((await files()).toSorted()).toEqual(expected.toSorted())
  })

  it('does not sweep what is just being received, however slowly it comes', async () => {
    const spool = await open()
    let swept = -1
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('a')
      await pause(20)
      swept = await spool.sweep(new Set(), -1000)
      yield Buffer.from('b')
    }
    const received = await spool.receive(slow(), 10)
    expect(swept).toBe(0)
    expect(await readFile(spool.path(received.name), 'utf8')).toBe('ab')
  })

  it('has no path for a name that it did not give', async () => {
    const spool = await open()
    for (const name of ['../secret', 'node-id', '', 'upload-../../etc/passwd']) {
      expect(() => spool.path(name)).toThrow('not the name of a spooled file')
    }
    await spool.remove('../secret')
    await spool.remove(`upload-${'0'.repeat(32)}`)
  })

  it('refuses to open where it cannot write', async () => {
    const place = join(dir, 'taken')
    await mkdir(dir, { recursive: true })
    await writeFile(place, 'a file, not a folder')
    await expect(openSpool({ dir: place, shared: false })).rejects.toThrow(
      `The spool folder ${place}`,
    )
  })
})
