// The official TypeScript SDK in its three dialects, under one set of names, so that one test covers each prefix.
import {
  AccountAggregationsBetaApi,
  AccountAggregationsV2024Api,
  type AccountAggregationStatusBeta,
  type AccountAggregationStatusV2024,
  type Account,
  type AccountBeta,
  type AccountV2024,
  AccountsApi,
  AccountsBetaApi,
  AccountsV2024Api,
  Configuration,
  type ResourceObjectsResponseBeta,
  type ResourceObjectsResponseV2024,
  type LoadAccountsTaskBeta,
  type LoadAccountsTaskV2024,
  type Schema,
  type SchemaBeta,
  type SchemaV2024,
  type Source,
  type SourceBeta,
  type SourceHealthDto,
  type SourceHealthDtoV2024,
  type SourceV2024,
  SourcesApi,
  SourcesBetaApi,
  SourcesV2024Api,
  type StatusResponseBeta,
  type StatusResponseV2024,
  TaskManagementBetaApi,
  TaskManagementV2024Api,
  type TaskStatusBeta,
  type TaskStatusV2024,
} from 'sailpoint-api-client'
import type { Target } from './server.ts'

/** What an SDK call resolves to, as far as the tests look at it. */
export interface Answer<T> {
  readonly status: number
  readonly data: T
  readonly headers: object
}

type AnySource = Source | SourceBeta | SourceV2024
type AnySchema = Schema | SchemaBeta | SchemaV2024
type AnyAccount = Account | AccountBeta | AccountV2024
type AnyTask = TaskStatusBeta | TaskStatusV2024
type AnyLoad = LoadAccountsTaskBeta | LoadAccountsTaskV2024
type AnyStatus = StatusResponseBeta | StatusResponseV2024
type AnyObjects = ResourceObjectsResponseBeta | ResourceObjectsResponseV2024
type AnyHealth = SourceHealthDto | SourceHealthDtoV2024
type AnyAggregation = AccountAggregationStatusBeta | AccountAggregationStatusV2024

/** One operation of a JSON Patch with a plain value. */
export interface Change {
  readonly op: 'add' | 'remove' | 'replace'
  readonly path: string
  readonly value?: string | number | boolean | object
}

/** The collection parameters that all lists share. */
export interface Page {
  readonly limit?: number
  readonly offset?: number
  readonly count?: boolean
  readonly filters?: string
  readonly sorters?: string
}

/** What peek-resource-objects is asked for. */
export interface PeekRequest {
  readonly objectType?: string
  readonly maxCount?: number
}

/** What every prefix of the SDK has. */
export interface Sdk {
  readonly createSource: (source: Source, provisionAsCsv: boolean) => Promise<Answer<AnySource>>
  readonly listSources: (page: Page) => Promise<Answer<AnySource[]>>
  readonly getSource: (id: string) => Promise<Answer<AnySource>>
  readonly patchSource: (id: string, changes: Change[]) => Promise<Answer<AnySource>>
  readonly deleteSource: (id: string) => Promise<Answer<{ type?: string; id?: string }>>
  readonly listSchemas: (sourceId: string) => Promise<Answer<AnySchema[]>>
  readonly getSchema: (sourceId: string, id: string) => Promise<Answer<AnySchema>>
  readonly createSchema: (sourceId: string, schema: Schema) => Promise<Answer<AnySchema>>
  readonly putSchema: (sourceId: string, id: string, schema: Schema) => Promise<Answer<AnySchema>>
  readonly patchSchema: (
    sourceId: string,
    id: string,
    changes: Change[],
  ) => Promise<Answer<AnySchema>>
  readonly deleteSchema: (sourceId: string, id: string) => Promise<Answer<unknown>>
  readonly listAccounts: (page: Page) => Promise<Answer<AnyAccount[]>>
  readonly getAccount: (id: string) => Promise<Answer<AnyAccount>>
  /** Not on `/beta`. */
  readonly getSourceHealth?: (sourceId: string) => Promise<Answer<AnyHealth>>
}

/** What the prefixes with aggregation have on top. */
export interface AggregatingSdk extends Sdk {
  readonly importAccounts: (
    id: string,
    options?: { file?: File; disableOptimization?: 'true' | 'false' },
  ) => Promise<Answer<AnyLoad>>
  readonly aggregationStatus: (id: string) => Promise<Answer<AnyAggregation>>
  readonly getTask: (id: string) => Promise<Answer<AnyTask>>
  readonly listTasks: (page: Page) => Promise<Answer<AnyTask[]>>
  readonly pendingTasks: () => Promise<Answer<AnyTask[]>>
  readonly testConnection: (sourceId: string) => Promise<Answer<AnyStatus>>
  readonly testConfiguration: (sourceId: string) => Promise<Answer<AnyStatus>>
  readonly pingCluster: (sourceId: string) => Promise<Answer<AnyStatus>>
  readonly peek: (sourceId: string, request: PeekRequest) => Promise<Answer<AnyObjects>>
}

/** The configuration of the SDK for a target; it fetches its token at once, by a multipart form. */
export function configure(target: Target): Configuration {
  const configuration = new Configuration({
    baseurl: target.url,
    tokenUrl: `${target.url}/oauth/token`,
    clientId: target.clientId,
    clientSecret: target.clientSecret,
  })
  // Without it this release of the SDK refuses on its own side to call what was experimental when it was made.
  configuration.experimental = true
  return configuration
}

/** The identity that a configuration acts as, read from its token, in the shape of an owner. */
export async function callerOf(configuration: Configuration): Promise<Source['owner']> {
  const token = await configuration.accessToken
  if (typeof token !== 'string') throw new Error('The SDK has no token.')
  const claims = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()
  const { identity_id: id } = JSON.parse(claims) as { identity_id: string }
  return { type: 'IDENTITY', id }
}

/** `/v3`: sources, schemas and accounts, but no aggregation. */
export function v3(configuration: Configuration): Sdk {
  const sources = new SourcesApi(configuration)
  const accounts = new AccountsApi(configuration)
  return {
    createSource: (source, provisionAsCsv) => sources.createSource({ source, provisionAsCsv }),
    listSources: (page) => sources.listSources(page),
    getSource: (id) => sources.getSource({ id }),
    patchSource: (id, jsonPatchOperation) => sources.updateSource({ id, jsonPatchOperation }),
    deleteSource: (id) => sources.deleteSource({ id }),
    listSchemas: (sourceId) => sources.getSourceSchemas({ sourceId }),
    getSchema: (sourceId, schemaId) => sources.getSourceSchema({ sourceId, schemaId }),
    createSchema: (sourceId, schema) => sources.createSourceSchema({ sourceId, schema }),
    putSchema: (sourceId, schemaId, schema) =>
      sources.putSourceSchema({ sourceId, schemaId, schema }),
    patchSchema: (sourceId, schemaId, jsonPatchOperation) =>
      sources.updateSourceSchema({ sourceId, schemaId, jsonPatchOperation }),
    deleteSchema: (sourceId, schemaId) => sources.deleteSourceSchema({ sourceId, schemaId }),
    listAccounts: (page) => accounts.listAccounts(page),
    getAccount: (id) => accounts.getAccount({ id }),
    getSourceHealth: (sourceId) => sources.getSourceHealth({ sourceId }),
  }
}

/** `/beta`. */
export function beta(configuration: Configuration): AggregatingSdk {
  const sources = new SourcesBetaApi(configuration)
  const accounts = new AccountsBetaApi(configuration)
  const tasks = new TaskManagementBetaApi(configuration)
  const aggregations = new AccountAggregationsBetaApi(configuration)
  return {
    createSource: (sourceBeta, provisionAsCsv) =>
      sources.createSource({ sourceBeta, provisionAsCsv }),
    listSources: (page) => sources.listSources(page),
    getSource: (id) => sources.getSource({ id }),
    patchSource: (id, jsonPatchOperationBeta) =>
      sources.updateSource({ id, jsonPatchOperationBeta }),
    deleteSource: (id) => sources._delete({ id }),
    listSchemas: (sourceId) => sources.getSourceSchemas({ sourceId }),
    getSchema: (sourceId, schemaId) => sources.getSourceSchema({ sourceId, schemaId }),
    createSchema: (sourceId, schemaBeta) => sources.createSourceSchema({ sourceId, schemaBeta }),
    putSchema: (sourceId, schemaId, schemaBeta) =>
      sources.putSourceSchema({ sourceId, schemaId, schemaBeta }),
    patchSchema: (sourceId, schemaId, jsonPatchOperationBeta) =>
      sources.updateSourceSchema({ sourceId, schemaId, jsonPatchOperationBeta }),
    deleteSchema: (sourceId, schemaId) => sources.deleteSourceSchema({ sourceId, schemaId }),
    listAccounts: (page) => accounts.listAccounts(page),
    getAccount: (id) => accounts.getAccount({ id }),
    importAccounts: (sourceId, options) => sources.importAccounts({ sourceId, ...options }),
    aggregationStatus: (id) => aggregations.getAccountAggregationStatus({ id }),
    getTask: (id) => tasks.getTaskStatus({ id }),
    listTasks: (page) => tasks.getTaskStatusList(page),
    pendingTasks: () => tasks.getPendingTasks(),
    testConnection: (sourceId) => sources.testSourceConnection({ sourceId }),
    testConfiguration: (sourceId) => sources.testSourceConfiguration({ sourceId }),
    pingCluster: (sourceId) => sources.pingCluster({ sourceId }),
    peek: (sourceId, resourceObjectsRequestBeta) =>
      sources.peekResourceObjects({ sourceId, resourceObjectsRequestBeta }),
  }
}

/** `/v2024`. */
export function v2024(configuration: Configuration): AggregatingSdk {
  const sources = new SourcesV2024Api(configuration)
  const accounts = new AccountsV2024Api(configuration)
  const tasks = new TaskManagementV2024Api(configuration)
  const aggregations = new AccountAggregationsV2024Api(configuration)
  return {
    createSource: (sourceV2024, provisionAsCsv) =>
      sources.createSource({ sourceV2024, provisionAsCsv }),
    listSources: (page) => sources.listSources(page),
    getSource: (id) => sources.getSource({ id }),
    patchSource: (id, jsonPatchOperationV2024) =>
      sources.updateSource({ id, jsonPatchOperationV2024 }),
    deleteSource: (id) => sources.deleteSource({ id }),
    listSchemas: (sourceId) => sources.getSourceSchemas({ sourceId }),
    getSchema: (sourceId, schemaId) => sources.getSourceSchema({ sourceId, schemaId }),
    createSchema: (sourceId, schemaV2024) => sources.createSourceSchema({ sourceId, schemaV2024 }),
    putSchema: (sourceId, schemaId, schemaV2024) =>
      sources.putSourceSchema({ sourceId, schemaId, schemaV2024 }),
    patchSchema: (sourceId, schemaId, jsonPatchOperationV2024) =>
      sources.updateSourceSchema({ sourceId, schemaId, jsonPatchOperationV2024 }),
    deleteSchema: (sourceId, schemaId) => sources.deleteSourceSchema({ sourceId, schemaId }),
    listAccounts: (page) => accounts.listAccounts(page),
    getAccount: (id) => accounts.getAccount({ id }),
    importAccounts: (id, options) => sources.importAccounts({ id, ...options }),
    aggregationStatus: (id) => aggregations.getAccountAggregationStatus({ id }),
    getTask: (id) => tasks.getTaskStatus({ id }),
    listTasks: (page) => tasks.getTaskStatusList(page),
    pendingTasks: () => tasks.getPendingTasks(),
    testConnection: (sourceId) => sources.testSourceConnection({ sourceId }),
    testConfiguration: (sourceId) => sources.testSourceConfiguration({ sourceId }),
    pingCluster: (sourceId) => sources.pingCluster({ sourceId }),
    peek: (sourceId, resourceObjectsRequestV2024) =>
      sources.peekResourceObjects({ sourceId, resourceObjectsRequestV2024 }),
    getSourceHealth: (sourceId) => sources.getSourceHealth({ sourceId }),
  }
}
