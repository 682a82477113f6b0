// Asks the system of a source on behalf of a call: no longer than a minute, only while the client waits, and not for many at once.
import type { FastifyReply } from 'fastify'
import { RequestError, RunError } from '../core/errors.ts'
import type { Schema } from '../core/schema.ts'
import type { Source } from '../core/source.ts'
import { probe } from '../run/probe.ts'
import type { Ask, ProbeAnswer, ProbeServices } from '../run/probe.ts'
import { RetryLater } from './errors.ts'
import { label } from './part-header.ts'

type Check = Extract<ProbeAnswer, { readonly what: 'check' }>
type Discover = Extract<ProbeAnswer, { readonly what: 'discover' }>
type Records = Extract<ProbeAnswer, { readonly records: unknown }>

/**
 * The questions of the API. They throw `RunError` for what is wrong with the source or its system, and RetryLater when
 * too many ask already. The reply tells whether the client still waits.
 */
export interface AskSource {
  check(source: Source, reply: FastifyReply): Promise<Check>
  discover(source: Source, reply: FastifyReply): Promise<Discover>
  /** The first `limit` records that a run would read for this schema. */
  peek(source: Source, schema: Schema, limit: number, reply: FastifyReply): Promise<Records>
}

export interface AskLimits {
  readonly timeoutMs: number
  /** Each question has a thread of its own, with the memory of a connector. */
  readonly mostAtOnce: number
}

const defaultLimits: AskLimits = { timeoutMs: 60_000, mostAtOnce: 4 }

/** Makes the one way that the API asks systems by. */
export function openAsks(services: ProbeServices, limits: AskLimits = defaultLimits): AskSource {
  let open = 0
  const ask = async (source: Source, question: Ask, reply: FastifyReply): Promise<ProbeAnswer> => {
    if (open >= limits.mostAtOnce) {
      throw new RetryLater('too_many_requests', 'Too many systems are being asked already.', 5)
    }
    open += 1
    const stop = new AbortController()
    const leave = (): void => stop.abort(new ClientLeft())
    // Of the reply, not the request: that one closes as soon as its body is read.
    reply.raw.once('close', leave)
    const timer = setTimeout(() => stop.abort(late(limits.timeoutMs)), limits.timeoutMs)
    try {
      return await probe(services, source, question, stop.signal)
    } finally {
      clearTimeout(timer)
      reply.raw.off('close', leave)
      open -= 1
    }
  }
  return {
    check: async (source, reply) => {
      const answer = await ask(source, { what: 'check' }, reply)
      return answer.what === 'check' ? answer : mixedUp(answer)
    },
    discover: async (source, reply) => {
      const answer = await ask(source, { what: 'discover' }, reply)
      return answer.what === 'discover' ? answer : mixedUp(answer)
    },
    peek: async (source, schema, limit, reply) => {
      const answer = await ask(source, { what: 'peek', schema, limit }, reply)
      return answer.what === 'peek' ? answer : mixedUp(answer)
    },
  }
}

function mixedUp({ what }: ProbeAnswer): never {
  throw new Error(`A probe was answered as ${what}.`)
}

/** Nobody is left to read the answer. */
class ClientLeft extends RequestError {
  constructor() {
    super('bad_request', 'The connection ended before the system answered.')
    this.name = 'ClientLeft'
  }
}

function late(timeoutMs: number): RunError {
  return new RunError(
    'no_answer',
    `The system did not answer within ${Math.round(timeoutMs / 1000)} seconds.`,
    {
      hint: 'Look whether the system is busy, and whether address and port are right; a filter may make it search for long.',
      temporary: true,
    },
  )
}

/** The error of a call that cannot be answered without the system: 400 with the reason and the hint. */
export function systemFailed(source: Source, error: unknown): unknown {
  if (!(error instanceof RunError)) return error
  return new RequestError(
    'bad_request',
    `The system of the source "${label(source.name)}" could not be read: ${error.message}`,
    { hint: error.hint, cause: error },
  )
}

/** Throws `bad_request` for a source that is loaded from files: it has no system that could be asked. */
export function requireSystem(source: Source): void {
  if (source.connectionType === 'direct') return
  throw new RequestError(
    'bad_request',
    `The source "${label(source.name)}" is loaded from files; it has no system that could be asked.`,
    { hint: 'Load a file, and list the accounts.' },
  )
}
