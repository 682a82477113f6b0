// /muster/v1/sources/{id}/settings: what a source has beyond ISC.
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { ConnectorDescription } from '../core/description.ts'
import { defaultSourceSettings, readModes, whenBusyChoices } from '../core/source.ts'
import type { SourceSettings } from '../core/source.ts'
import type { Database } from '../store/database.ts'
import { updateSourceSettings } from '../store/sources.ts'
import { checkedBody } from './body.ts'
import { recordChange } from './record-change.ts'
import type { Call, Route } from './route.ts'
import { lockSource, requireSource } from './source-access.ts'
import { requireDelta } from './source-state.ts'

const WhenBusy = Type.Union(
  whenBusyChoices.map((choice) => Type.Literal(choice)),
  { description: 'What a submit does while another run of the source is unfinished.' },
)
const ReadMode = Type.Union(
  readModes.map((mode) => Type.Literal(mode)),
  {
    description:
      'What a run of a direct source reads unless its form field "mode" says otherwise: everything, or what changed since the last run.',
  },
)
// Unknown keys are refused: a misspelt setting would seem to be in force.
const SettingsBody = Type.Object(
  { whenBusy: Type.Optional(WhenBusy), readMode: Type.Optional(ReadMode) },
  { additionalProperties: false },
)
const SettingsModel = Type.Object({ whenBusy: WhenBusy, readMode: ReadMode })

export interface SettingsServices {
  readonly db: Database
  /** The connectors of packages. */
  readonly descriptions: readonly ConnectorDescription[]
}

/** The routes of settings. */
export function settingsRoutes(services: SettingsServices): Route[] {
  const { db } = services
  const common = {
    versions: ['muster'],
    path: '/sources/:id/settings',
    tag: 'Sources',
    levels: ['ORG_ADMIN', 'SOURCE_ADMIN', 'SOURCE_SUBADMIN'],
    status: 200,
    response: SettingsModel,
  } as const
  return [
    {
      ...common,
      method: 'GET',
      operationId: 'getSourceSettings',
      summary: 'Reads the settings of a source that ISC does not have',
      scopes: ['idn:sources:read', 'idn:sources:manage'],
      handle: async (request, _reply, call) =>
        (await requireSource(db, call.caller, pathId(request))).settings,
    },
    {
      ...common,
      method: 'PUT',
      operationId: 'putSourceSettings',
      summary: 'Replaces these settings; what is left out falls back to its default',
      scopes: ['idn:sources:manage'],
      body: SettingsBody,
      handle: (request, _reply, call) => replace(services, request, call),
    },
  ]
}

function pathId(request: FastifyRequest): string {
  return (request.params as { readonly id: string }).id
}

async function replace(
  { db, descriptions }: SettingsServices,
  request: FastifyRequest,
  call: Call,
): Promise<SourceSettings> {
  const body = checkedBody(SettingsBody, request.body)
  const after: SourceSettings = { ...defaultSourceSettings, ...body }
  await db.transaction(async (tx) => {
    const source = await lockSource(tx, call.caller, pathId(request))
    if (after.readMode === 'delta') requireDelta(source, descriptions, 'readMode')
    await updateSourceSettings(tx, source.id, after)
    await recordChange(
      tx,
      call,
      'SOURCE_SETTINGS_UPDATED',
      { type: 'SOURCE', id: source.id, name: source.name },
      { before: source.settings, after },
    )
  })
  return after
}
