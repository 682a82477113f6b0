// The reader of delimited files: against csv-parse and papaparse on random tables, and rule by rule.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import fc from 'fast-check'
import Papa from 'papaparse'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openRecords } from '../../src/connect/delimited-reader.ts'
import { cellText, maximumCells } from '../../src/connect/delimited-scanner.ts'
import { type Dialect, readDialect } from '../../src/core/dialect.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'muster-reader-'))
})
afterAll(() => {
  rmSync(folder, { recursive: true })
})

interface ReadRecord {
  readonly kind: 'record' | 'comment' | 'empty'
  readonly line: number
  readonly cells: readonly string[]
  readonly malformed: boolean
}

/** Reads bytes as records, in blocks of a size. */
function read(
  content: string | Uint8Array,
  given: Readonly<Record<string, unknown>> = {},
  blockSize = 1 << 20,
): ReadRecord[] {
  const path = join(folder, 'file.csv')
  writeFileSync(path, content)
  const dialect: Dialect = readDialect({ commentCharacter: '', ...given })
  const reader = openRecords(path, dialect, blockSize)
  try {
    const { scanner } = reader
    const records: ReadRecord[] = []
    for (;;) {
      const scan = reader.next()
      if (scan === 'more') return records
      const count = scan === 'record' ? scanner.cells : 0
      records.push({
        kind: scan as ReadRecord['kind'],
        line: scanner.recordLine,
        cells: Array.from({ length: count }, (_, index) => cellText(scanner, index)),
        malformed: scan === 'record' && scanner.malformed,
      })
    }
  } finally {
    reader.close()
  }
}

function cells(records: readonly ReadRecord[]): (readonly string[])[] {
  return records.filter((record) => record.kind === 'record').map((record) => record.cells)
}

function failure(action: () => unknown): { code: string; message: string } {
  try {
    action()
  } catch (error) {
    return error as { code: string; message: string }
  }
  throw new Error('it did not fail')
}

function decodeOrNull(decoder: InstanceType<typeof TextDecoder>, bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes)
  } catch {
    return null
  }
}

const blockSizes = fc.constantFrom(1, 2, 3, 5, 16, 100, 4096)

const tableArbitrary = fc
  .record({
    delimiter: fc.constantFrom(',', ';', '\t', '|', ' '),
    quote: fc.constantFrom('"', "'", '~'),
    newline: fc.constantFrom('\n', '\r\n', '\r'),
    mark: fc.boolean(),
    lastNewline: fc.boolean(),
    width: fc.integer({ min: 2, max: 5 }),
  })
  .chain((style) => {
    const { delimiter, quote, newline } = style
    const unit = fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom('a', 'b', 'Z', '0', '-', '.') },
      { weight: 2, arbitrary: fc.constantFrom('é', '€', '😀', '\u2028', 'ß') },
      { weight: 3, arbitrary: fc.constantFrom(delimiter, quote, newline, '"', "'", ',') },
    )
    const cell = fc.record({
      text: fc.string({ unit, maxLength: 10 }),
      quoted: fc.boolean(),
    })
    const row = fc.array(cell, { minLength: style.width, maxLength: style.width })
    return fc.record({ style: fc.constant(style), rows: fc.array(row, { maxLength: 8 }) })
  })
  .map(({ style, rows }) => {
    const { delimiter, quote, newline } = style
    // The first line shows every reader which line ending the file has.
    const header = Array.from({ length: style.width }, (_, index) => ({
      text: `h${index}`,
      quoted: false,
    }))
    const write = ({ text, quoted }: { text: string; quoted: boolean }): string =>
      quoted || [delimiter, quote, '\n', '\r', '"', "'"].some((one) => text.includes(one))
        ? quote + text.replaceAll(quote, quote + quote) + quote
        : text
    const all = [header, ...rows]
    const lines = all.map((row) => row.map(write).join(delimiter))
    const text = lines.join(newline) + (style.lastNewline ? newline : '')
    return { style, text, lines, table: all.map((row) => row.map((one) => one.text)) }
  })

describe('reading a delimited file', () => {
  it('finds the cells that were written, and those that csv-parse and papaparse find, whatever the blocks', () => {
    fc.assert(
      fc.property(tableArbitrary, blockSizes, ({ style, text, lines, table }, blockSize) => {
        const { delimiter, quote, newline, mark } = style
        const dialect = { delimiter, quoteCharacter: quote }
        const records = read(`${mark ? '\ufeff' : ''}${text}`, dialect, blockSize)
        expect(cells(records)).toEqual(table)
        expect(records.every((record) => !record.malformed)).toBe(true)
        expect(cells(records)).toEqual(
          parse(text, { delimiter, quote, escape: quote, record_delimiter: newline }),
        )
        expect(cells(records)).toEqual(
          Papa.parse(style.lastNewline ? text.slice(0, -newline.length) : text, {
            delimiter,
            quoteChar: quote,
            escapeChar: quote,
            newline,
          }).data,
        )
        let line = 1
        for (const [index, record] of records.entries()) {
          expect(record.line).toBe(line)
          line += lines[index]?.split(newline).length ?? 0
        }
      }),
      { numRuns: 400 },
    )
  })

  it('reads the same records in blocks of one byte as in one block, also of text that breaks every rule', () => {
    const unit = fc.constantFrom('a', ',', '"', '\n', '\r', '#', ' ', 'é', '\0')
    const outcome = (content: string, blockSize: number): unknown => {
      try {
        return read(content, { commentCharacter: '#' }, blockSize)
      } catch (error) {
        const { code, message } = error as { code: string; message: string }
        return { code, message }
      }
    }
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 40 }), blockSizes, (content, blockSize) => {
        expect(outcome(content, blockSize)).toEqual(outcome(content, 1 << 20))
      }),
      { numRuns: 500 },
    )
  })

  it('reads a file whose records lie across the blocks of a megabyte', () => {
    const rows = Array.from({ length: 40_000 }, (_, index) => [
      `k${index}`,
      `${'ä'.repeat(index % 50)} "quoted", ${index}`,
    ])
    const text = rows
      .map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(','))
      .join('\r\n')
    expect(cells(read(text))).toEqual(rows)
  })

  it('reads nothing out of an empty file, and out of one that is only a mark', () => {
    expect(read('')).toEqual([])
    expect(read('\ufeff')).toEqual([])
    expect(read(Uint8Array.of(0xff, 0xfe))).toEqual([])
  })

  it('reports comment lines and empty lines, and counts them as lines', () => {
    const records = read('a,b\n# x, "\n\n\r\n1,2\n#', { commentCharacter: '#' })
    expect(records.map((record) => [record.kind, record.line])).toEqual([
      ['record', 1],
      ['comment', 2],
      ['empty', 3],
      ['empty', 4],
      ['record', 5],
      ['comment', 6],
    ])
  })

  it('takes the comment character within a record, and in quotes at its start, as text', () => {
    const records = read('a,b\n1,#\n"#2",x\n', { commentCharacter: '#' })
    expect(cells(records)).toEqual([
      ['a', 'b'],
      ['1', '#'],
      ['#2', 'x'],
    ])
  })

  it('keeps a lone CR as text of a cell where lines end in LF, and a LF where they end in CR', () => {
    expect(cells(read('a,b\n1\r2,x\ry\n'))).toEqual([
      ['a', 'b'],
      ['1\r2', 'x\ry'],
    ])
    expect(cells(read('a,b\r1\n2,"x\r\ny"\r'))).toEqual([
      ['a', 'b'],
      ['1\n2', 'x\r\ny'],
    ])
  })

  it('judges the line ending by the first one outside of quotes', () => {
    expect(cells(read('"a\r",b\n1,2\n'))).toEqual([
      ['a\r', 'b'],
      ['1', '2'],
    ])
    expect(cells(read('a,"b\n"\r1,2'))).toEqual([
      ['a', 'b\n'],
      ['1', '2'],
    ])
  })

  it('takes no character for a quote where quoting is off', () => {
    expect(cells(read('a,b\n"1,2"\n', { quoteCharacter: '' }))).toEqual([
      ['a', 'b'],
      ['"1', '2"'],
    ])
  })

  it('marks a record as malformed where text follows a closing quote, and goes on with the next line', () => {
    const records = read('a,b\n"1"x,2\n"3" ,4\n5,6\n')
    expect(records.map((record) => record.malformed)).toEqual([false, true, true, false])
    expect(records[3]?.cells).toEqual(['5', '6'])
  })

  it('keeps quotes inside of a cell that does not begin with one', () => {
    expect(cells(read('a,b\n1 "x", "y"\n'))).toEqual([
      ['a', 'b'],
      ['1 "x"', ' "y"'],
    ])
  })

  it.each([1, 7, 1 << 20])(
    'names the line of a quote that is never closed (blocks of %i)',
    (size) => {
      const content = 'a,b\n"x\ny",2\n3,"open\nand\non'
      expect(failure(() => read(content, {}, size))).toMatchObject({
        code: 'unclosed_quote',
        message: 'The quote that opens on line 4 is never closed.',
      })
    },
  )

  it('names the line of a record that is longer than 16 MiB', () => {
    const content = Buffer.concat([Buffer.from('a,b\n1,"'), Buffer.alloc(18 << 20, 'x\n')])
    expect(failure(() => read(content))).toMatchObject({
      code: 'record_too_long',
      message: expect.stringContaining('line 2'),
    })
  })

  it('counts all cells of a record that has more of them than it keeps', () => {
    const [record] = read(`${'x,'.repeat(maximumCells + 4)}y\n`)
    expect(record?.malformed).toBe(false)
    expect(record?.cells).toHaveLength(maximumCells + 5)
  })
})

describe('reading other encodings', () => {
  const table = [
    ['id', 'naïve "name"'],
    ['1', 'Zoë, 日本語 😀'],
    ['2', 'line\nbreak'],
  ]
  const text = table
    .map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(','))
    .join('\r\n')
  const swap = (bytes: Buffer): Buffer => Buffer.from(bytes).swap16()

  it.each([4, 8, 12, 20, 1 << 20])(
    'reads UTF-16 of both orders by its mark (blocks of %i)',
    (size) => {
      const little = Buffer.from(`\ufeff${text}`, 'utf16le')
      expect(cells(read(little, {}, size))).toEqual(table)
      expect(cells(read(swap(little), {}, size))).toEqual(table)
      // The mark wins over the setting.
      expect(cells(read(swap(little), { fileEncoding: 'utf-16le' }, size))).toEqual(table)
    },
  )

  it.each([4, 20, 1 << 20])(
    'reads UTF-16 without a mark by fileEncoding (blocks of %i)',
    (size) => {
      const little = Buffer.from(text, 'utf16le')
      expect(cells(read(little, { fileEncoding: 'UTF-16LE' }, size))).toEqual(table)
      expect(cells(read(swap(little), { fileEncoding: 'utf-16be' }, size))).toEqual(table)
    },
  )

  // `cells` in each encoding, so that characters of several bytes lie across the blocks.
  it.each([
    ['iso-8859-1', '69642c6e616d650a312cc4d6dc', ['Ä', 'Ö', 'Ü'].join('')],
    ['windows-1252', '69642c6e616d650a312c8092', '€’'],
    ['shift_jis', '69642c6e616d650a312c93fa967b8cea', '日本語'],
    [
      'gb18030',
      '69642c6e616d650a312cd6d0cec48130813294 39fc36'.replaceAll(' ', ''),
      '中文\u0082\u{1F600}',
    ],
  ])('reads %s by fileEncoding whatever the blocks', (encoding, hex, name) => {
    const bytes = Buffer.from(hex, 'hex')
    for (const size of [1, 4, 8, 12, 1 << 20]) {
      expect(cells(read(bytes, { fileEncoding: encoding }, size)).at(-1)).toEqual(['1', name])
    }
  })

  it.each([1, 2, 3, 4, 1 << 20])(
    'takes no mark into the first name, also where that is quoted (blocks of %i)',
    (size) => {
      const content = '\ufeff"id","na,me"\r\n1,x'
      const expected = [
        ['id', 'na,me'],
        ['1', 'x'],
      ]
      expect(cells(read(content, {}, size))).toEqual(expected)
      expect(cells(read(content, { fileEncoding: 'windows-1252' }, size))).toEqual(expected)
      const little = Buffer.from(content, 'utf16le')
      expect(cells(read(little, {}, Math.max(4, size)))).toEqual(expected)
    },
  )

  it('reads every encoding that TextDecoder knows, cut anywhere, as TextDecoder does', () => {
    // The names of the WHATWG Encoding Standard; those that this Node.js does not have are refused when they are set.
    const names = [
      'utf-8 ibm866 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8 iso-8859-8-i',
      'iso-8859-10 iso-8859-13 iso-8859-14 iso-8859-15 iso-8859-16 koi8-r koi8-u macintosh windows-874 windows-1250',
      'windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 windows-1257 windows-1258',
      'x-mac-cyrillic gbk gb18030 big5 euc-jp iso-2022-jp shift_jis euc-kr utf-16be utf-16le latin1 ascii',
    ].flatMap((some) => some.split(' '))
    let known = 0
    for (const name of names) {
      let decoder: InstanceType<typeof TextDecoder>
      try {
        decoder = new TextDecoder(name, { fatal: true })
      } catch {
        continue
      }
      known += 1
      const wide = name.startsWith('utf-16')
      const plain = (ascii: string): Buffer => {
        const bytes = Buffer.from(ascii, wide ? 'utf16le' : 'latin1')
        return name === 'utf-16be' ? bytes.swap16() : bytes
      }
      // Every pair of bytes that is a text of one line in this encoding, a few hundred of them.
      const texts: Buffer[] = []
      for (let first = 0xa1; first < 0xff; first += 3) {
        for (const second of [0x41, 0x81, 0xa1, 0xc4, 0xfe]) {
          const bytes = Buffer.from(wide ? [second, first & 0x4f] : [first, second])
          const line = decodeOrNull(decoder, bytes)
          if (line !== null && !/[\r\n",\ufeff\0]/.test(line)) texts.push(bytes)
        }
      }
      const content = Buffer.concat([plain('x'), ...texts.flatMap((one) => [plain(','), one])])
      const expected = decoder.decode(content).split(',')
      for (const size of [4, 20, 1 << 20]) {
        const [row] = cells(read(content, { fileEncoding: name }, size))
        expect([name, row]).toEqual([name, expected])
      }
    }
    expect(known).toBeGreaterThan(30)
  })

  it('refuses an encoding that is not known', () => {
    expect(failure(() => read('a', { fileEncoding: 'utf-9' }))).toMatchObject({
      code: 'bad_setting',
      message: expect.stringContaining('utf-9'),
    })
  })

  it('names the offset of the first bytes that are no UTF-8, whatever they are and however the blocks fall', () => {
    const bad = fc.constantFrom<number[][]>(
      [0xff],
      [0x80],
      [0xc3],
      [0xe2, 0x82],
      [0xf0, 0x9f, 0x98],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xe0, 0x80, 0x80],
      [0xf8, 0x88, 0x80, 0x80, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
    )
    const good = fc.string({ unit: fc.constantFrom('a', 'é', '€', '😀', ',', '\n'), maxLength: 30 })
    fc.assert(
      fc.property(good, bad, good, fc.boolean(), blockSizes, (before, bytes, after, mark, size) => {
        const start = Buffer.from((mark ? '\ufeff' : '') + before)
        const content = Buffer.concat([start, Buffer.from(bytes), Buffer.from(`,${after}`)])
        expect(failure(() => read(content, {}, size))).toMatchObject({
          code: 'invalid_bytes',
          message: `The file is not UTF-8: the bytes at offset ${start.length} are no character.`,
        })
      }),
      { numRuns: 500 },
    )
  })

  it('names the offset where a file ends within a character', () => {
    const content = Buffer.concat([Buffer.from('id\nab'), Buffer.from([0xe2, 0x82])])
    for (const size of [1, 3, 1 << 20]) {
      expect(failure(() => read(content, {}, size)).message).toContain('offset 5 ')
    }
  })

  it('names the offset of a byte that is over in UTF-16', () => {
    const content = Buffer.concat([Buffer.from('\ufeffid\n1', 'utf16le'), Buffer.from([0x41])])
    for (const size of [4, 8, 1 << 20]) {
      expect(failure(() => read(content, {}, size))).toMatchObject({
        code: 'invalid_bytes',
        message: expect.stringContaining(`offset ${content.length - 1} `),
      })
    }
  })

  it('names the offset of a lone surrogate, and of bytes that an encoding does not have', () => {
    const lone = Buffer.from('\ufeffid\nab\ud800cd', 'utf16le')
    const noSjis = Buffer.from('69640a3132ff41', 'hex')
    for (const size of [4, 8, 1 << 20]) {
      expect(failure(() => read(lone, {}, size)).message).toContain('offset 12 ')
      expect(failure(() => read(noSjis, { fileEncoding: 'shift_jis' }, size)).message).toContain(
        'offset 5 ',
      )
    }
  })
})
