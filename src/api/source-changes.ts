// PUT and PATCH of a source: what may change, what may not, and what becomes of its secrets.
import type { Static } from 'typebox'
import { connectorKind } from '../core/connector.ts'
import type { ConnectorKind } from '../core/connector.ts'
import type { ConnectorDescription } from '../core/description.ts'
import { RequestError } from '../core/errors.ts'
import { sameJson } from '../core/json-value.ts'
import { secretMask, splitSecrets } from '../core/secret-keys.ts'
import { givenThreshold, keptAttributes, mirroredAttributes } from '../core/source-attributes.ts'
import type { Source } from '../core/source.ts'
import type { Database } from '../store/database.ts'
import { listSchemaReferences } from '../store/schemas.ts'
import type { MasterKey } from '../store/sealed.ts'
import { writeSourceSecrets } from '../store/source-secrets.ts'
import { updateSource } from '../store/sources.ts'
import { checkedBody } from './body.ts'
import { patched } from './json-patch.ts'
import { recordChange } from './record-change.ts'
import type { Call } from './route.ts'
import { lockSource } from './source-access.ts'
import { SourceBody, sourceDraft } from './source-body.ts'
import { identityAttribute, sourceModel } from './source-model.ts'
import type { SourceModel } from './source-model.ts'

interface ChangeServices {
  readonly db: Database
  readonly masterKey: MasterKey
  readonly descriptions: readonly ConnectorDescription[]
}
type Body = Static<typeof SourceBody>

/** Fields that ISC says neither PUT nor PATCH may change. */
const immutable = ['id', 'type', 'authoritative', 'connector', 'connectorClass', 'passwordPolicies']
/** Fields that a PATCH, which names what it changes, may not name either: Muster itself keeps them. */
const keptByMuster = [
  'accountCorrelationConfig',
  'created',
  'modified',
  'schemas',
  'healthy',
  'status',
  'since',
  'connectorId',
  'connectorName',
  'connectorImplementationId',
  'connectionType',
]

/** PUT: replaces what is not immutable. What is left out falls back to its default, but the connector's attributes and the owner stay. */
export function replaceSource(
  services: ChangeServices,
  call: Call,
  id: string,
  given: unknown,
): Promise<SourceModel> {
  const body = checkedBody(SourceBody, given)
  return change(services, call, id, (before) => {
    for (const key of immutable) {
      const value: unknown = Reflect.get(body, key)
      if (value !== undefined) refuseChange(key, Reflect.get(before, key), value)
    }
    const externalId = body.connectorAttributes?.['cloudExternalId']
    if (externalId !== undefined) {
      refuseChange(
        'connectorAttributes.cloudExternalId',
        before.connectorAttributes['cloudExternalId'],
        externalId,
      )
    }
    return body
  })
}

/** PATCH: applies the operations to the source as it is read, all of them or none. */
export function patchSource(
  services: ChangeServices,
  call: Call,
  id: string,
  operations: unknown,
): Promise<SourceModel> {
  return change(services, call, id, (before) => {
    const after = patched(before, operations)
    for (const key of [...immutable, ...keptByMuster]) {
      refuseChange(key, Reflect.get(before, key), after[key])
    }
    const body = checkedBody(SourceBody, after)
    const shown = body.connectorAttributes ?? {}
    for (const key of [...mirroredAttributes, 'cloudExternalId']) {
      if (key === 'deleteThresholdPercentage') continue
      refuseChange(`connectorAttributes.${key}`, before.connectorAttributes[key], shown[key])
    }
    return body
  })
}

function refuseChange(field: string, before: unknown, after: unknown): void {
  if (sameJson(before, after)) return
  throw new RequestError('immutable_field', `The field ${field} of a source cannot be changed.`)
}

async function change(
  { db, masterKey, descriptions }: ChangeServices,
  call: Call,
  id: string,
  next: (before: SourceModel) => Body,
): Promise<SourceModel> {
  const { caller } = call
  return db.transaction(async (tx) => {
    const source = await lockSource(tx, caller, id)
    const schemas = (await listSchemaReferences(tx, [source.id])).get(source.id) ?? []
    const before = sourceModel(source, schemas)
    const body = next(before)
    const given = body.connectorAttributes ?? before.connectorAttributes
    const { masked, secrets } = changedSecrets(source, given)
    const draft = await sourceDraft(
      tx,
      caller,
      keptIn(body, before),
      kindOf(source, descriptions),
      {
        attributes: {
          ...keptAttributes(masked, identityAttribute(schemas)),
          cloudExternalId: source.connectorAttributes['cloudExternalId'],
        },
        deleteThreshold: givenThreshold(
          body.deleteThreshold ?? null,
          given['deleteThresholdPercentage'],
          before.deleteThreshold,
        ),
        authoritative: source.authoritative,
      },
    )
    if (caller.level === 'SOURCE_SUBADMIN' && draft.ownerId !== source.ownerId) {
      throw new RequestError('forbidden', 'A SOURCE_SUBADMIN may not give a source another owner.')
    }
    const after = sourceModel(await updateSource(tx, source.id, draft), schemas)
    await writeSourceSecrets(tx, masterKey, source.id, secrets)
    await recordChange(
      tx,
      call,
      'SOURCE_UPDATED',
      { type: 'SOURCE', id: source.id, name: source.name },
      { before, after },
    )
    return after
  })
}

/** The body with what a PUT may leave out and what it cannot change. */
function keptIn(body: Body, before: SourceModel): Body {
  return {
    ...body,
    owner: body.owner === undefined ? before.owner : body.owner,
    passwordPolicies: before.passwordPolicies as Exclude<Body['passwordPolicies'], undefined>,
  }
}

function kindOf(source: Source, descriptions: readonly ConnectorDescription[]): ConnectorKind {
  const text = (key: string): string | null => {
    const value = source.extra[key]
    return typeof value === 'string' ? value : null
  }
  return connectorKind(
    {
      connector: source.connector,
      type: source.type,
      connectorClass: text('connectorClass'),
      connectorId: text('connectorId'),
      connectorName: text('connectorName'),
    },
    descriptions,
  )
}

/** Which secrets a change gives anew and which it drops. The mask keeps a secret, where there is one. */
function changedSecrets(
  source: Source,
  attributes: Readonly<Record<string, unknown>>,
): {
  readonly masked: Readonly<Record<string, unknown>>
  readonly secrets: {
    readonly given: ReadonlyMap<string, string>
    readonly removed: readonly string[]
  }
} {
  const former = splitSecrets(source.connectorAttributes).kept
  const { masked, given, kept } = splitSecrets(attributes)
  for (const path of kept) if (!former.has(path)) throw maskWithoutSecret(path)
  const removed = [...former].filter((path) => !kept.has(path) && !given.has(path))
  return { masked, secrets: { given, removed } }
}

/** The error of a mask where no secret is kept. */
export function maskWithoutSecret(path: string): RequestError {
  const key = path.split('/').map(decodeURIComponent).join('.')
  return new RequestError(
    'bad_request',
    `connectorAttributes.${key} is "${secretMask}", but no secret is kept there.`,
    { hint: 'Send the secret itself.' },
  )
}
