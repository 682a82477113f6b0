// Checks bodies that no validator of the server sees: what a patch made of an object, and what PostgreSQL can keep of it.
import type { Static, TSchema } from 'typebox'
import { RequestError } from '../core/errors.ts'
import { forbiddenKey } from '../core/json-patch.ts'
import { jsonProblem } from '../core/json-value.ts'
import { compileValidator } from './validation.ts'

/** The value as the schema describes it. Throws `bad_request` naming what does not fit or cannot be stored. */
export function checkedBody<T extends TSchema>(schema: T, value: unknown): Static<T> {
  const problem = jsonProblem(value)
  if (problem !== null) throw new RequestError('bad_request', `The body ${problem}.`)
  const key = forbiddenKey(value)
  if (key !== null) throw new RequestError('bad_request', `The body has the key "${key}".`)
  const check = compileValidator({ schema, method: 'POST', url: '', httpPart: 'body' })
  const result: unknown = check(value)
  if (typeof result === 'object' && result !== null && 'error' in result) {
    throw result.error instanceof Error
      ? result.error
      : new RequestError('bad_request', 'The body is wrong.')
  }
  return value as Static<T>
}
