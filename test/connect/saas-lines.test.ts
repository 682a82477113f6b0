// The lines of an answer, byte by byte: what is JSON, what is not, and what numbers become.
import { describe, expect, it } from 'vitest'
import { RunError } from '../../src/core/errors.ts'
import { textError } from '../../src/connect/saas-errors.ts'
import {
  type LineLimits,
  parseLine,
  readLines,
  type SaasLine,
} from '../../src/connect/saas-lines.ts'
import { readAhead } from '../../src/connect/saas-queue.ts'

const limits: LineLimits = { maximumLineBytes: 4096, maximumBytes: 1 << 20 }

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size)
}

async function lines(text: string | Uint8Array, size = 7, given = limits): Promise<SaasLine[]> {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text
  const found: SaasLine[] = []
  for await (const batch of readLines(inPieces(bytes, size), given, (wrong) =>
    textError(wrong, { token: 'hunter2' }),
  )) {
    found.push(...batch.lines)
  }
  return found
}

const failure = async (work: Promise<unknown>): Promise<RunError> => {
  const error: unknown = await work.then(
    () => null,
    (reason: unknown) => reason,
  )
  if (error instanceof RunError) return error
  throw new Error('It did not fail as it should.', { cause: error })
}

describe('lines of an answer', () => {
  it('are the same in pieces of any size, whatever characters a piece cuts', async () => {
    const text = '{"data":{"name":"Zoë 🦉"},"type":"output"}\n\n{"data":{},"type":"keepAlive"}\n'
    const whole = await lines(text, 1000)
    expect(whole).toEqual([
      { type: 'output', data: { name: 'Zoë 🦉' } },
      { type: 'keepAlive', data: {} },
    ])
    for (const size of [1, 2, 3, 5, 40]) expect(await lines(text, size)).toEqual(whole)
  })

  it('may be bare objects, as older SDKs send them', async () => {
    expect(await lines('{"identity":"user-1","type":"group","attributes":{}}\n')).toEqual([
      { type: 'output', data: { identity: 'user-1', type: 'group', attributes: {} } },
    ])
  })

  it('need no line break after the last, but half a line is none', async () => {
    expect(await lines('{"data":{"a":1},"type":"output"}')).toHaveLength(1)
    expect((await failure(lines('{"data":{"a":1},"type":"out'))).code).toBe('connector_failed')
  })

  it('keep every digit of a number that JavaScript cannot hold', async () => {
    const line =
      '{"data":{"a":9007199254740993,"b":[-12345678901234567890,1],"c":"9007199254740993","d":0.12345678901234567891,"e":1.5},"type":"output"}'
    expect(parseLine(line)?.data).toEqual({
      a: '9007199254740993',
      b: ['-12345678901234567890', 1],
      c: '9007199254740993',
      d: '0.12345678901234567891',
      e: 1.5,
    })
    expect(parseLine('{"data":{"a\\"":1234567890123456},"type":"output"}')?.data).toEqual({
      'a"': 1_234_567_890_123_456,
    })
  })

  it('refuse a state with a number that would come back as another', async () => {
    const error = await failure(lines('{"data":{"since":9007199254740993},"type":"state"}\n'))
    expect(error.code).toBe('connector_record_bad')
  })

  it.each([
    [
      '{"data":{},"type":"output"}\ngeneric error: \n + ConnectorError: no more hunter2 pages\n    at list (/home/x.js:1)\n',
      'The connector failed: no more ****** pages.',
    ],
    [
      'notFound error: \n + ConnectorError: no user-9 {\n  type: "notFound"\n}',
      'The connector found nothing: no user-9.',
    ],
    ['<!DOCTYPE html><html>', 'A page of HTML came instead of lines of JSON.'],
    ['[1]\n', 'The connector failed: it sent something that is no line of JSON: [1].'],
    ['null\n', 'The connector failed: it sent something that is no line of JSON: null.'],
  ])('fail with the words of the connector and nothing else: %j', async (text, message) => {
    for (const size of [3, 1000]) {
      expect((await failure(lines(text, size))).message).toBe(message)
    }
  })

  it('fail when a line or the whole answer is too long, or bytes are not UTF-8', async () => {
    const long = `{"data":{"name":"${'x'.repeat(5000)}"},"type":"output"}\n`
    expect((await failure(lines(long, 100))).code).toBe('connector_limit')
    expect((await failure(lines(long, 10_000))).code).toBe('connector_limit')
    const many = '{"data":{},"type":"output"}\n'.repeat(100)
    expect(await lines(many)).toHaveLength(100)
    const small = { ...limits, maximumBytes: 1000 }
    expect((await failure(lines(many, 7, small))).code).toBe('connector_limit')
    const bytes = new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d, 0x0a])
    expect((await failure(lines(bytes))).code).toBe('connector_record_bad')
  })
})

describe('reading ahead', () => {
  it('takes everything from its source while the consumer is slow, and gives it in order', async () => {
    const piece = 256 * 1024
    const count = 48
    let sent = 0
    const source = async function* source(): AsyncGenerator<Uint8Array> {
      for (; sent < count; sent += 1) yield Buffer.alloc(piece, sent)
    }
    const seen: number[] = []
    let length = 0
    for await (const chunk of readAhead(source())) {
      // The first piece is worked on for so long that the whole source (12 MB, most of it in a file) came meanwhile.
      while (length === 0 && sent < count) await new Promise((resolve) => setTimeout(resolve, 1))
      for (let at = 0; at < chunk.length; at += piece / 4) {
        const value = chunk[at] ?? -1
        if (seen.at(-1) !== value) seen.push(value)
      }
      length += chunk.length
    }
    expect(length).toBe(piece * count)
    expect(seen).toEqual(Array.from({ length: count }, (_, index) => index))
  })

  it('keeps the order when more comes while a part waits in the file', async () => {
    const piece = 256 * 1024
    let taken = 0
    const source = async function* source(): AsyncGenerator<Uint8Array> {
      for (let number = 0; number < 40; number += 1) yield Buffer.alloc(piece, number)
      // The memory is empty by then, and the file is not.
      while (taken < 20 * piece) await new Promise((resolve) => setTimeout(resolve, 1))
      for (let number = 40; number < 60; number += 1) yield Buffer.alloc(piece, number)
    }
    const seen: number[] = []
    for await (const chunk of readAhead(source())) {
      for (let at = 0; at < chunk.length; at += piece / 4) seen.push(chunk[at] ?? -1)
      taken += chunk.length
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
    expect(taken).toBe(60 * piece)
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
  })

  it('gives the error of its source after what came before it', async () => {
    const source = async function* source(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array([1])
      throw new Error('broken')
    }
    const ahead = readAhead(source())
    expect((await ahead.next()).value).toEqual(new Uint8Array([1]))
    await expect(ahead.next()).rejects.toThrow('broken')
  })
})
