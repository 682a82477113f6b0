// /sources/{id}/schemas/accounts and /entitlements: a schema as the header of a file, to download, change and upload (contract.md section 2.3).
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { readDialect } from '../core/dialect.ts'
import type { Dialect } from '../core/dialect.ts'
import { RequestError, RunError } from '../core/errors.ts'
import type { Schema } from '../core/schema.ts'
import { attributesOfTemplate, templateNames, templateText } from '../core/schema-template.ts'
import type { Source } from '../core/source.ts'
import { readHeader } from '../run/job.ts'
import type { Spool } from '../run/spool.ts'
import type { Database } from '../store/database.ts'
import { listSchemas, updateSchema } from '../store/schemas.ts'
import { checkedBody } from './body.ts'
import { queryFlag, queryText } from './collection.ts'
import { readForm } from './multipart.ts'
import { recordChange } from './record-change.ts'
import { everyVersion } from './route.ts'
import type { Call, Route } from './route.ts'
import { SchemaBody, schemaDraft, schemaModel, SchemaModel } from './schema-body.ts'
import { lockSource, requireSource } from './source-access.ts'

export interface SchemaTemplateServices {
  readonly db: Database
  /** Where an uploaded template lies while its header is read. */
  readonly spool: Spool
}

/** Accounts, or the entitlements of one of the other schemas. */
type Kind = 'accounts' | 'entitlements'

const multipart = 'multipart/form-data'
/** A template is one line; a file of accounts that is sent in its place is taken up to here. */
const limitBytes = 1024 * 1024
const readScopes = ['idn:source-schema:read', 'idn:source-schema:manage']
const manageScopes = ['idn:source-schema:manage']

const RawShape = Type.Optional(
  Type.Boolean({
    description: 'Muster only: true leaves names as they are that a spreadsheet would calculate.',
  }),
)
const NameShape = Type.Optional(
  Type.String({ description: 'Which entitlement schema; needed when there are several.' }),
)
const queries = {
  accounts: { GET: Type.Object({ raw: RawShape }), POST: Type.Object({}) },
  entitlements: {
    GET: Type.Object({ schemaName: NameShape, raw: RawShape }),
    POST: Type.Object({ schemaName: NameShape }),
  },
} as const

/** The routes of templates, under every prefix of ISC. */
export function schemaTemplateRoutes(services: SchemaTemplateServices): Route[] {
  return [...routesOf(services, 'accounts'), ...routesOf(services, 'entitlements')]
}

function routesOf(services: SchemaTemplateServices, kind: Kind): Route[] {
  const common = {
    path: `/sources/:id/schemas/${kind}`,
    versions: everyVersion,
    tag: 'Sources',
    levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
    status: 200,
  } as const
  const word = kind === 'accounts' ? 'Accounts' : 'Entitlements'
  const what = kind === 'accounts' ? 'the account schema' : 'an entitlement schema'
  return [
    {
      ...common,
      method: 'GET',
      operationId: `get${word}Schema`,
      summary: `Downloads the template of ${what}: the header of its file`,
      scopes: readScopes,
      query: queries[kind].GET,
      produces: 'text/csv',
      response: Type.String(),
      handle: (request, reply, call) => download(services.db, kind, request, reply, call),
    },
    {
      ...common,
      method: 'POST',
      operationId: `import${word}Schema`,
      summary: `Uploads the template of ${what}: its attributes become those of the header`,
      scopes: manageScopes,
      query: queries[kind].POST,
      body: Type.Object({ file: Type.String({ format: 'binary' }) }),
      consumes: [multipart],
      streams: true,
      response: SchemaModel,
      handle: (request, _reply, call) => upload(services, kind, request, call),
    },
  ]
}

async function download(
  db: Database,
  kind: Kind,
  request: FastifyRequest,
  reply: FastifyReply,
  call: Call,
): Promise<FastifyReply> {
  const source = await requireSource(db, call.caller, idOf(request))
  const dialect = dialectOf(source)
  const schema = choose(await listSchemas(db, source.id), kind, request)
  const text = templateText(schema.attributes, dialect, queryFlag(request, 'raw') ?? false)
  return reply
    .type('text/csv; charset=utf-8')
    .header('content-disposition', `attachment; filename="${fileName(source, schema)}"`)
    .send(text)
}

async function upload(
  { db, spool }: SchemaTemplateServices,
  kind: Kind,
  request: FastifyRequest,
  call: Call,
): Promise<SchemaModel> {
  // All that can be known without the body is checked before it.
  const source = await requireSource(db, call.caller, idOf(request))
  const dialect = dialectOf(source)
  choose(await listSchemas(db, source.id), kind, request)
  const names = await uploadedNames(spool, request, dialect)
  return db.transaction(async (tx) => {
    await lockSource(tx, call.caller, source.id)
    const schemas = await listSchemas(tx, source.id)
    const schema = choose(schemas, kind, request)
    const before = schemaModel(schema)
    const attributes = attributesOfTemplate(schema, names)
    const body = checkedBody(SchemaBody, { ...before, attributes })
    const others = schemas.filter((other) => other.id !== schema.id)
    const after = schemaModel(await updateSchema(tx, schema, schemaDraft(body, others)))
    await recordChange(
      tx,
      call,
      'SOURCE_SCHEMA_UPDATED',
      { type: 'SOURCE_SCHEMA', id: after.id, name: after.name },
      { before, after },
    )
    return after
  })
}

/** The names in the header of the uploaded file. */
async function uploadedNames(
  spool: Spool,
  request: FastifyRequest,
  dialect: Dialect,
): Promise<string[]> {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';', 1)
  if (type.trim().toLowerCase() !== multipart) {
    throw new RequestError('unsupported_media_type', 'A template is sent as a form.', {
      hint: `Send ${multipart} with the template in the part named "file".`,
    })
  }
  const { file } = await readForm(request.raw, { fileParts: ['file'], limitBytes, spool })
  if (file === null) {
    throw new RequestError('file_required', 'The form holds no template.')
  }
  try {
    return templateNames(asRequest(() => readHeader(spool.path(file.name), dialect)))
  } finally {
    await spool.remove(file.name)
  }
}

/** The dialect of a delimited source. Throws `bad_request` for any other source: it has no file. */
function dialectOf(source: Source): Dialect {
  if (source.connectionType !== 'file') {
    throw new RequestError(
      'bad_request',
      `The source "${source.name}" reads its system and has no file, so its schemas have no template.`,
      { hint: 'Read and change its schemas at /sources/{id}/schemas.' },
    )
  }
  return asRequest(() => readDialect(source.connectorAttributes))
}

/** What is wrong with a file is a reason of runs; here it is one of the request. */
function asRequest<T>(act: () => T): T {
  try {
    return act()
  } catch (error) {
    if (!(error instanceof RunError)) throw error
    throw new RequestError('bad_request', error.message, { hint: error.hint, cause: error })
  }
}

function choose(schemas: readonly Schema[], kind: Kind, request: FastifyRequest): Schema {
  const named = kind === 'accounts' ? 'account' : queryText(request, 'schemaName')
  const candidates =
    kind === 'accounts' ? schemas : schemas.filter((schema) => schema.name !== 'account')
  const [first, second] =
    named === null ? candidates : candidates.filter((schema) => schema.name === named)
  if (first !== undefined && second === undefined) return first
  if (first === undefined) {
    const which = named === null ? 'entitlement schema' : `schema "${named.slice(0, 100)}"`
    throw new RequestError('not_found', `The source has no ${which} to make a template of.`, {
      hint: 'Make the schema first: POST /sources/{id}/schemas.',
    })
  }
  throw new RequestError('bad_request', 'The source has several entitlement schemas.', {
    hint: `Name one in schemaName: ${candidates.map((schema) => schema.name).join(', ')}.`,
  })
}

function idOf(request: FastifyRequest): string {
  return (request.params as { readonly id: string }).id
}

/** A file name of plain characters, whatever the source is called. */
function fileName(source: Source, schema: Schema): string {
  const plain = `${source.name}-${schema.name}-schema`.replaceAll(/[^A-Za-z0-9._]+/g, '-')
  return `${plain.replaceAll(/^[-.]+/g, '').slice(0, 120)}.csv`
}
