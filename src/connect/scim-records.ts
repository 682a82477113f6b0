// Resources of SCIM become records: the values of the wanted attributes, the identity, the key, and what else was there.
import type { ReadRecord, ReadRequest, ReadValue } from './reader.ts'
import { isJsonObject, lookUp } from './scim-json.ts'
import type { Resource } from './scim-pages.ts'
import { parsePath, readPath, topNames, type ScimPath } from './scim-path.ts'
import type { ScimSettings } from './scim-settings.ts'

/** More names than these are not told. */
const extraLimit = 200

/** What every resource has, whether or not a schema asks for it. */
const common = ['schemas', 'id', 'meta']

/** Makes records for one request. */
export interface RecordMaker {
  record(resource: Resource): ReadRecord
  /** Names that resources had and nobody asked for. */
  extra(): readonly string[]
  /** Whether a path begins with this name. */
  wants(name: string): boolean
  /** The path of the native identity as it is written; null: the id. */
  readonly identityPath: string | null
}

/** Throws `bad_setting` for a path that is not understood. */
export function openRecordMaker(request: ReadRequest, settings: ScimSettings): RecordMaker {
  const wanted = request.attributes.map((attribute) => ({
    path: parsePath(pathOf(attribute.name, attribute.nativeName, settings), 'attributeMap'),
    isMulti: attribute.isMulti,
  }))
  const identity = readIdentity(request, settings)
  const tops = new Set(wanted.flatMap(({ path }) => topNames(path)))
  const met = new Set<string>()
  const extra: string[] = []

  const note = (name: string): void => {
    if (met.has(name) || extra.length >= extraLimit) return
    met.add(name)
    if (!tops.has(name.toLowerCase()) && !common.includes(name.toLowerCase())) extra.push(name)
  }
  const noteNames = ({ body }: Resource): void => {
    for (const name of Object.keys(body)) {
      const value = body[name]
      if (!name.startsWith('urn:')) note(name)
      else if (isJsonObject(value)) for (const key of Object.keys(value)) note(`${name}:${key}`)
    }
  }

  return {
    record: (resource) => {
      noteNames(resource)
      const values = wanted.map(({ path, isMulti }): ReadValue => {
        const found = readPath(resource.body, path, !isMulti)
        if (!isMulti) return found[0] ?? null
        return found.length === 0 ? null : found
      })
      const active = lookUp(resource.body, 'active')
      return {
        identity:
          identity === null ? resource.id : (readPath(resource.body, identity.path, true)[0] ?? ''),
        key: resource.id,
        ...(active === undefined || active === null
          ? {}
          : { disabled: active === false || active === 'false' || active === 'False' }),
        values,
      }
    },
    extra: () => extra,
    wants: (name) =>
      tops.has(name) || (identity !== null && topNames(identity.path).includes(name)),
    identityPath: identity?.text ?? null,
  }
}

interface IdentityPath {
  readonly text: string
  readonly path: ScimPath
}

/** Null when the id of SCIM is the native identity. */
function readIdentity(request: ReadRequest, settings: ScimSettings): IdentityPath | null {
  const name = request.identityAttribute
  if (name === null) return null
  const attribute = request.attributes.find((candidate) => candidate.name === name)
  const text = pathOf(name, attribute?.nativeName ?? null, settings)
  if (text.toLowerCase() === 'id') return null
  return { text, path: parsePath(text, 'attributeMap') }
}

function pathOf(name: string, nativeName: string | null, settings: ScimSettings): string {
  const given = settings.attributeMap.get(name)
  if (given !== undefined) return given
  return nativeName === null || nativeName === '' ? name : nativeName
}
