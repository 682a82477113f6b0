import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { chooseDisplay, chooseIdentity, sampleFile } from '../../src/cli/file-sample.ts'
import type { FileSample } from '../../src/cli/file-sample.ts'

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'muster-sample-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

async function sampleOf(
  content: string | Buffer,
  encoding: string | null = null,
): Promise<FileSample> {
  const path = join(dir, 'sample.csv')
  await writeFile(path, content)
  return sampleFile(path, null, encoding)
}

describe('the sample of a file', () => {
  it('finds the delimiter outside of quotes', async () => {
    for (const delimiter of [',', ';', '\t', '|']) {
      const sample = await sampleOf(
        `id${delimiter}"a,b;c|d,e;f"${delimiter}x\n1${delimiter}2${delimiter}3\n`,
      )
      expect(sample.delimiter).toBe(delimiter)
      expect(sample.columns).toEqual(['id', 'a,b;c|d,e;f', 'x'])
      expect(sample.rows).toEqual([['1', '2', '3']])
    }
  })

  it('reads a file that is gzip, of a long one only the beginning, and names one that is cut', async () => {
    const short = await sampleOf(gzipSync('id,name\n1,Ann\n'))
    expect(short).toEqual({ delimiter: ',', columns: ['id', 'name'], rows: [['1', 'Ann']] })
    const long = await sampleOf(gzipSync(`id;name\n${'1;Ann\n'.repeat(2_000_000)}`))
    expect(long.columns).toEqual(['id', 'name'])
    expect(long.rows.length).toBeLessThan(200_000)
    expect(long.rows.every((row) => row.join() === '1,Ann')).toBe(true)
    await expect(sampleOf(gzipSync('id,name\n1,Ann\n').subarray(0, 20))).rejects.toThrow(
      'The gzip file cannot be unpacked: unexpected end of file.',
    )
  })

  it('reads quotes, line breaks in them, and every kind of line end', async () => {
    const sample = await sampleOf('id,name\r\n1,"say ""hi""\nthere"\r2,x\n\n3,')
    expect(sample.rows).toEqual([
      ['1', 'say "hi"\nthere'],
      ['2', 'x'],
      ['3', ''],
    ])
  })

  it('knows UTF-8 and UTF-16 by their marks, and other encodings by name', async () => {
    const text = 'id,größe\n1,ü\n'
    const utf16 = Buffer.from(`\uFEFF${text}`, 'utf16le')
    for (const bytes of [text, `\uFEFF${text}`, utf16, Buffer.from(utf16).swap16()]) {
      expect((await sampleOf(bytes)).columns).toEqual(['id', 'größe'])
    }
    const latin1 = Buffer.from(text, 'latin1')
    expect((await sampleOf(latin1, 'windows-1252')).columns).toEqual(['id', 'größe'])
    await expect(sampleOf(latin1)).rejects.toMatchObject({
      hint: expect.stringContaining('--encoding'),
    })
    await expect(sampleOf(latin1, 'klingon')).rejects.toThrow('klingon')
  })

  it('leaves out the record that its own end cuts', async () => {
    const sample = await sampleOf(`id,name\n${'1,long enough a name\n'.repeat(80_000)}`)
    expect(sample.rows.length).toBeGreaterThan(40_000)
    expect(sample.rows.every((row) => row[1] === 'long enough a name')).toBe(true)
  })

  it('refuses an empty file and column names that cannot be told apart, naming them', async () => {
    await expect(sampleOf('')).rejects.toThrow('is empty')
    await expect(sampleOf('id,,x\n')).rejects.toThrow('column 2')
    await expect(sampleOf('Name,id,name\n')).rejects.toThrow('"name"')
    await expect(sampleFile(join(dir, 'none.csv'), null, null)).rejects.toMatchObject({
      exitCode: 2,
    })
  })

  it('keeps columns with names that objects have', async () => {
    expect((await sampleOf('__proto__,constructor,id\n1,2,3\n')).columns).toEqual([
      '__proto__',
      'constructor',
      'id',
    ])
  })
})

describe('the identity column', () => {
  const choose = async (content: string, merged = false): Promise<string> =>
    chooseIdentity(await sampleOf(content), merged).column

  it('is one with a usual name whose values are there and differ', async () => {
    expect(await choose('name,Employee ID,mail\na,1,x\nb,2,y\n')).toBe('Employee ID')
    expect(await choose('name,id,employee_number\na,1,7\nb,1,8\n')).toBe('employee_number')
    expect(await choose('name,id,mail\na,,x@y\nb,2,z@y\n')).toBe('mail')
  })

  it('is the first that identifies where no name is usual', async () => {
    expect(await choose('colour,badge,room\nred,7,1\nred,8,2\n')).toBe('badge')
  })

  it('may repeat where rows are merged', async () => {
    expect(await choose('id,groups\n1,a\n1,b\n', true)).toBe('id')
    await expect(choose('id,groups\n1,a\n1,a\n')).rejects.toMatchObject({
      hint: expect.stringContaining('--merge'),
    })
  })

  it('is a usual name in a file without rows, and asked for else', async () => {
    expect(await choose('name,id\n')).toBe('id')
    await expect(choose('colour,room\n')).rejects.toMatchObject({ exitCode: 2 })
  })

  it('goes with a name column, which is the identity where none is usual', async () => {
    const people = await sampleOf('id,Display Name,mail\n1,Ada,a@x\n')
    expect(chooseDisplay(people, 'id').column).toBe('Display Name')
    const badges = await sampleOf('badge,room\n1,2\n')
    expect(chooseDisplay(badges, 'badge').column).toBe('badge')
  })
})
