// The public face of the client, `musterd/client`.
export { createClient } from './client.ts'
export type { Client, ClientOptions, LoadAccountsOptions } from './client.ts'
export { ApiError, ConnectionError } from './api-error.ts'
export { WaitTimeout } from './wait.ts'
export type { WaitOptions } from './wait.ts'
export type { UploadContent, UploadFile, UploadProgress } from './upload.ts'
export type {
  Account,
  AggregationStatus,
  ApiClient,
  ApiVersion,
  AttributeDefinition,
  Change,
  ListQuery,
  LoadAccountsTask,
  NewApiClient,
  NewSchema,
  NewSource,
  Page,
  PatchStep,
  Reference,
  Reject,
  Run,
  Schema,
  Source,
  SourceSettings,
  TaskMessage,
  TaskStatus,
} from './models.ts'
