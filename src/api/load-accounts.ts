// POST /sources/{id}/load-accounts: takes an upload, or none, and submits an aggregation (contract.md section 1).
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { IncomingMessage } from 'node:http'
import { Type } from 'typebox'
import type { ConnectorDescription } from '../core/description.ts'
import { RequestError } from '../core/errors.ts'
import { readModes } from '../core/source.ts'
import type { Source } from '../core/source.ts'
import { busyMessage } from '../core/task.ts'
import type { RunServices } from '../run/job.ts'
import { checkUpload } from '../run/check-upload.ts'
import type { Spool } from '../run/spool.ts'
import { tooLarge } from '../run/spool.ts'
import { submitAggregation } from '../run/submit.ts'
import type { Submitted } from '../run/submit.ts'
import type { Database } from '../store/database.ts'
import { recognise } from './errors.ts'
import type { LoadAccountsTask } from './load-accounts-model.ts'
import { loadAccountsTask, toLoadAccountsTask } from './load-accounts-model.ts'
import type { Form } from './multipart.ts'
import { formOverheadBytes, readForm } from './multipart.ts'
import { label } from './part-header.ts'
import { announcedBytes, readSmallBody } from './request-body.ts'
import type { PaceRule } from './request-body.ts'
import type { Call, Route } from './route.ts'
import { allButV3 } from './route.ts'
import { requireSource } from './source-access.ts'
import { requireDelta } from './source-state.ts'
import type { ApiWatch } from './watch.ts'

/** What the endpoint works with. */
export interface LoadAccountsServices {
  readonly db: Database
  readonly spool: Spool
  /** The longest file that is taken. */
  readonly maxUploadBytes: number
  /** Tells the workers of this process that there is a task. */
  readonly wake: () => void
  /** Told of every upload and of the task that it makes. */
  readonly watch?: ApiWatch
  /** The connectors of packages. */
  readonly descriptions: readonly ConnectorDescription[]
  /** How slow a body may be; the usual rule unless set. */
  readonly pace?: PaceRule
  /** Called when the upload is stored and when its task is written; a test ends the process there. */
  readonly onStep?: RunServices['onStep']
}

const multipart = 'multipart/form-data'
const urlencoded = 'application/x-www-form-urlencoded'
const json = 'application/json'
const smallBodyBytes = 64 * 1024
/** What is read of a body in JSON. */
const jsonFields = ['disableOptimization', 'mode'] as const
const emptyForm: Form = { fields: new Map(), file: null }

/** The routes of this file. */
export function loadAccountsRoutes(services: LoadAccountsServices): Route[] {
  return [
    {
      method: 'POST',
      path: '/sources/:id/load-accounts',
      versions: allButV3,
      operationId: 'importAccounts',
      summary: 'Account aggregation',
      tag: 'Sources',
      scopes: ['idn:sources:manage'],
      levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
      body: Type.Object({
        file: Type.Optional(Type.String({ format: 'binary' })),
        disableOptimization: Type.Optional(Type.String()),
        mode: Type.Optional(
          Type.String({
            description:
              'Muster only, for sources that read their system: "full" or "delta"; else what the settings of the source say.',
          }),
        ),
      }),
      consumes: [multipart, urlencoded, json],
      streams: true,
      status: 202,
      response: loadAccountsTask,
      handle: (request, reply, call) => watched(services, request, reply, call),
    },
  ]
}

/** Takes the upload and tells what became of it; of an error only the code, for there are few of these. */
async function watched(
  services: LoadAccountsServices,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<LoadAccountsTask> {
  const { watch } = services
  const uploaded = await loadAccounts(services, request, reply, call).catch((error: unknown) => {
    watch?.upload(recognise(error).code, 0)
    throw error
  })
  const { kind, task } = uploaded
  watch?.upload(kind, uploaded.bytes)
  if (kind === 'conflict') {
    throw new RequestError('conflict', busyMessage, {
      hint: `The running aggregation is task ${task.id}.`,
    })
  }
  if (kind === 'accepted') {
    watch?.submitted(call.trackingId, task.id)
    services.wake()
  }
  return toLoadAccountsTask(task)
}

async function loadAccounts(
  services: LoadAccountsServices,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<Submitted & { readonly bytes: number }> {
  // All that can be known without the body is checked before it: nobody uploads a gigabyte to be told 404.
  const { id } = request.params as { readonly id: string }
  const source = await requireSource(services.db, call.caller, id)
  const form = await readBody(services, request.raw, source).catch((error: unknown) => {
    // A client that sends too much ends here, also when just its last byte was too many.
    if (error instanceof RequestError && error.code === 'too_large')
      reply.header('connection', 'close')
    throw error
  })
  await services.onStep?.('stored')
  const strict = prefersStrict(request)
  const submitted = await submit(services, source, call, form, strict)
  await services.onStep?.('submitted')
  if (strict) reply.header('preference-applied', 'handling=strict')
  return { ...submitted, bytes: form.file?.bytes ?? 0 }
}

/** Submits the run. A file that no run was made for is removed. */
async function submit(
  services: LoadAccountsServices,
  source: Source,
  call: Call,
  form: Form,
  strict: boolean,
): ReturnType<typeof submitAggregation> {
  const { db, spool } = services
  try {
    const optimized = !disablesOptimization(form.fields.get('disableOptimization'))
    const fields = knownFields(form, source, services.descriptions)
    if (form.file !== null) checkUpload(spool.path(form.file.name), source)
    const outcome = await submitAggregation(db, {
      caller: call.caller,
      trackingId: call.trackingId,
      source,
      fields,
      optimized,
      strict,
      node: spool.node,
      file: form.file,
    })
    if (outcome.kind !== 'accepted' && form.file !== null) await spool.remove(form.file.name)
    return outcome
  } catch (error) {
    // After a lost connection nobody knows whether the task was written; its file must stay for it. The sweep of the
    // spool removes the file if it was not.
    if (error instanceof RequestError && form.file !== null) await spool.remove(form.file.name)
    throw error
  }
}

/** The form of the request, in whichever of its media types, held against what the source takes. */
async function readBody(
  services: LoadAccountsServices,
  request: IncomingMessage,
  source: Source,
): Promise<Form> {
  const type = mediaType(request)
  const takesFile = source.connectionType === 'file'
  const length = announcedBytes(request)
  if (type === multipart) {
    const { spool } = services
    const limitBytes = services.maxUploadBytes
    if (length !== null && length > limitBytes + formOverheadBytes) throw tooLarge(limitBytes)
    const form = await readForm(request, {
      fileParts: ['file', 'csvFile'],
      limitBytes,
      spool,
      ...(services.pace && { pace: services.pace }),
      ...(takesFile ? {} : { refuseFile: fileNotAllowed }),
    })
    if (takesFile && form.file === null) throw fileRequired(source)
    return form
  }
  // The other types cannot carry a file, so for a source that needs one there is nothing to read.
  if (takesFile) throw fileRequired(source)
  const text = (await readSmallBody(request, smallBodyBytes, services.pace)).toString('utf8')
  if (type === null) {
    if (text === '') return emptyForm
    throw unsupported('The body has no content type.')
  }
  const fields = type === json ? fieldsOfJson(text) : [...new URLSearchParams(text)]
  return { fields: new Map(fields), file: null }
}

/** The media type of the body in lower case; null when there is no type and no length above 0. Throws 415 for what is not taken. */
function mediaType(
  request: IncomingMessage,
): typeof multipart | typeof urlencoded | typeof json | null {
  const encoding = (request.headers['content-encoding'] ?? 'identity').trim().toLowerCase()
  if (encoding !== 'identity') {
    throw unsupported(`The content encoding "${label(encoding)}" is not taken here.`)
  }
  const header = request.headers['content-type']
  // In chunks, a body may turn out to be empty.
  if (header === undefined && (announcedBytes(request) ?? 0) === 0) return null
  const type = (header ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
  if (type === multipart || type === urlencoded || type === json) return type
  throw unsupported(
    type === ''
      ? 'The body has no content type.'
      : `The content type "${label(type)}" is not taken here.`,
  )
}

function unsupported(message: string): RequestError {
  return new RequestError('unsupported_media_type', message, {
    hint: `Send ${multipart} without a content encoding (the file itself may be gzip); for a source without files also ${urlencoded} or ${json}.`,
  })
}

function fieldsOfJson(text: string): [string, string][] {
  if (text.trim() === '') return []
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new RequestError('bad_request', 'The body is not valid JSON.', { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RequestError('bad_request', 'The body must be a JSON object.')
  }
  return jsonFields.flatMap((name): [string, string][] => {
    const given: unknown = Object.getOwnPropertyDescriptor(value, name)?.value
    if (given === undefined || given === null) return []
    if (typeof given === 'string' || typeof given === 'boolean') return [[name, String(given)]]
    throw name === 'mode' ? badMode(JSON.stringify(given)) : badFlag(JSON.stringify(given))
  })
}

/** The form fields as they are kept: a mode is written in one way, so that the same submit has the same fields. */
function knownFields(
  form: Form,
  source: Source,
  descriptions: readonly ConnectorDescription[],
): Record<string, string> {
  const { mode: given = '', ...others } = Object.fromEntries(form.fields)
  const text = given.trim().toLowerCase()
  if (text === '') return others
  const mode = readModes.find((one) => one === text)
  if (mode === undefined) throw badMode(given)
  if (mode === 'delta') requireDelta(source, descriptions, 'mode')
  return { ...others, mode }
}

function disablesOptimization(text: string | undefined): boolean {
  switch (text?.trim().toLowerCase() ?? '') {
    case 'true':
      return true
    case 'false':
    case '':
      return false
    default:
      throw badFlag(text ?? '')
  }
}

function badFlag(text: string): RequestError {
  return new RequestError(
    'bad_request',
    `disableOptimization must be "true" or "false", not "${label(text)}".`,
  )
}

function badMode(text: string): RequestError {
  return new RequestError('bad_request', `mode must be "full" or "delta", not "${label(text)}".`)
}

/** `Prefer: handling=strict` (RFC 7240) asks for 409 where the source is busy. */
function prefersStrict(request: FastifyRequest): boolean {
  const header = request.headers['prefer']
  const text = Array.isArray(header) ? header.join(',') : (header ?? '')
  return /(?:^|[,;])\s*handling\s*=\s*"?strict"?\s*(?:$|[,;])/i.test(text)
}

function fileRequired(source: Source): RequestError {
  return new RequestError(
    'file_required',
    `The source "${label(source.name)}" is loaded from a file.`,
  )
}

function fileNotAllowed(): RequestError {
  return new RequestError('file_not_allowed', 'This source does not take a file.')
}
