// Aggregates hr.csv with the official SDK. Needs SAIL_BASE_URL, SAIL_CLIENT_ID and SAIL_CLIENT_SECRET, which the SDK reads itself.
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AccountsV2024Api,
  Configuration,
  SourcesV2024Api,
  TaskManagementV2024Api,
} from 'sailpoint-api-client'

const configuration = new Configuration()
// Since this release of the SDK was made these calls are public; it does not know yet.
configuration.experimental = true
const sources = new SourcesV2024Api(configuration)
const tasks = new TaskManagementV2024Api(configuration)
const accounts = new AccountsV2024Api(configuration)

const { data: source } = await sources.createSource({
  provisionAsCsv: true,
  sourceV2024: {
    name: `HR by the SDK ${Date.now()}`,
    // Muster takes the caller for the owner; ISC wants { type: 'IDENTITY', id }.
    owner: null,
    connector: 'delimited-file-angularsc',
  },
})
console.log(`source   ${source.id}`)

// The file has a column more than the schema that a new source gets.
await sources.updateSourceSchema({
  sourceId: source.id,
  schemaId: source.schemas[0].id,
  jsonPatchOperationV2024: [
    { op: 'add', path: '/attributes/-', value: { name: 'badge', type: 'INT' } },
  ],
})

// A File or a Blob: of a stream this SDK would send the text "[object Object]".
const file = new File([await readFile(new URL('hr.csv', import.meta.url))], 'hr.csv')
const { data: submitted } = await sources.importAccounts({ id: source.id, file })
console.log(`task     ${submitted.task.id}`)

let task
do {
  await sleep(200)
  task = (await tasks.getTaskStatus({ id: submitted.task.id })).data
} while (task.completionStatus === null)
console.log(`ended    ${task.completionStatus}, ${task.attributes.created} created`)

const { data: found } = await accounts.listAccounts({
  filters: `sourceId eq "${source.id}"`,
  sorters: 'nativeIdentity',
})
for (const account of found) console.log(`account  ${account.nativeIdentity}  ${account.name}`)
