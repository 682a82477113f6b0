// The table of errors, its page, and what becomes of errors that are not in it.
import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { answerError, recognise } from '../../src/api/errors.ts'
import { describeError, openLog, plainLines, redactUrl } from '../../src/api/logging.ts'
import { errorKinds, RequestError } from '../../src/core/errors.ts'

it('the page lists exactly the codes there are, with their status, detail code and hint', async () => {
  const page = await readFile(new URL('../../docs/reference/errors.md', import.meta.url), 'utf8')
  const rows = page
    .slice(page.indexOf('## Codes'), page.indexOf('## Before the body'))
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('`', '')),
    )
  const table = Object.entries(errorKinds).map(([code, kind]) => [
    code,
    String(kind.status),
    kind.detailCode,
    kind.hint.replaceAll('`', ''),
  ])
  expect(rows).toEqual(table)
})

describe('an error becomes', () => {
  const failure = (fields: object, message = 'x'): Error =>
    Object.assign(new Error(message), fields)

  it.each([
    [failure({ code: 'ECONNREFUSED' }), 'unavailable'],
    [failure({ code: '57P01' }), 'unavailable'],
    [failure({ code: '08006' }), 'unavailable'],
    [failure({ code: '53300', severity: 'FATAL' }), 'unavailable'],
    [failure({ code: '25006' }), 'unavailable'],
    [failure({ code: 'ENOENT', syscall: 'connect' }), 'unavailable'],
    [failure({}, 'Connection terminated unexpectedly'), 'unavailable'],
    [failure({}, 'timeout exceeded when trying to connect'), 'unavailable'],
    [new AggregateError([failure({ code: 'ECONNREFUSED' })]), 'unavailable'],
    [failure({ code: '53100' }), 'no_space'],
    [failure({ code: 'ENOSPC' }), 'no_space'],
    [failure({ code: '22021' }), 'bad_request'],
    [failure({ code: 'ECONNRESET' }, 'aborted'), 'bad_request'],
    [failure({ code: 'ENOENT', syscall: 'open' }), 'internal'],
    [failure({ code: '42P01' }), 'internal'],
    ['a text', 'internal'],
    [undefined, 'internal'],
  ])('%s → %s', (error, code) => {
    expect(recognise(error).code).toBe(code)
  })

  it('an answer whose text is the reason and the hint', () => {
    const error = new RequestError('bad_request', 'The colour is wrong.', { hint: 'Take blue.' })
    const answer = answerError(error, 'f'.repeat(32))
    expect(answer).toMatchObject({ status: 400, fault: false })
    expect(JSON.stringify(answer.body)).toContain('"text":"The colour is wrong. Take blue."')
  })
})

describe('the log', () => {
  it('shows no value of a query but those that are known to be harmless', () => {
    expect(redactUrl('/oauth/token?grant_type=client_credentials&client_secret=s3')).toBe(
      '/oauth/token?grant_type=client_credentials&client_secret=[redacted]',
    )
    expect(redactUrl('/v3/accounts?limit=5&filters=name+eq+%22a%22&count')).toBe(
      '/v3/accounts?limit=5&filters=[redacted]&count',
    )
    expect(redactUrl('/x?eyJhbGciOi')).toBe('/x?[redacted]')
    expect(redactUrl(`/${'a'.repeat(5_000)}`).length).toBeLessThan(1_100)
  })

  it('shows no part of a path but words and ids', () => {
    const id = 'c0ffee00000040008000000000000001'
    expect(redactUrl(`/sources/v1/${id}/load-accounts?count=true`)).toBe(
      `/sources/v1/${id}/load-accounts?count=true`,
    )
    for (const value of ['ann@example.test', 'ann%40example.test', 'cn=Ann,ou=people', 'Ann%20B']) {
      expect(redactUrl(`/v3/accounts/${value}/x`)).toBe('/v3/accounts/[redacted]/x')
    }
  })

  it('shows no row and no value of an error of the database', () => {
    const error = Object.assign(new Error('invalid input syntax for type uuid: "alice@x"'), {
      code: '22P02',
      detail: 'Failing row contains (alice@x).',
      table: 'account',
    })
    const text = JSON.stringify(describeError(new Error('outer', { cause: error })))
    expect(text).not.toContain('alice')
    expect(text).toContain('22P02')
    expect(text).toContain('account')
  })

  it('is one line an event, whatever a name holds', () => {
    const lines: string[] = []
    const json = openLog('info', { write: (line) => void lines.push(line) })
    const hostile = 'a\n{"level":60}\u001b[2J\u2028b'
    json.info({ name: hostile }, 'one')
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ name: hostile })
    const plain: string[] = []
    openLog(
      'info',
      plainLines((line) => void plain.push(line)),
    ).info({ name: hostile }, 'two')
    expect(plain.join('').trimEnd()).toMatch(/^\d\d:\d\d:\d\d info {2}two name=a\\u000a/)
    for (const hidden of ['\u001b', '\u2028']) expect(plain.join('')).not.toContain(hidden)
  })
})
