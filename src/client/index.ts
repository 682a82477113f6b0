// The public face of the client, `musterd/client`.
export { createClient } from './client.ts'
export type { Client, ClientOptions, LoadAccountsOptions, RawRequest } from './client.ts'
export { ApiError, ConnectionError, ReadOnlyError } from './api-error.ts'
export { WaitTimeout } from './wait.ts'
export type { Patience } from './retry.ts'
export type { WaitOptions } from './wait.ts'
export type { UploadContent, UploadFile, UploadProgress } from './upload.ts'
export { readConfiguration } from './configuration.ts'
export type { CurrentSource, SourceConfiguration } from './configuration.ts'
export { ConfigurationError, planConfiguration } from './configuration-plan.ts'
export type { PlanLine, PlanOptions, SourcePlan } from './configuration-plan.ts'
export { applySource } from './configuration-apply.ts'
export type {
  Account,
  AggregationStatus,
  ApiClient,
  ApiVersion,
  AttributeDefinition,
  Change,
  CorrelationAssignment,
  CorrelationConfig,
  Discovery,
  ListQuery,
  LoadAccountsTask,
  ManagerCorrelationMapping,
  NewApiClient,
  NewSchema,
  NewSource,
  Page,
  PatchStep,
  ReadMode,
  Reference,
  Reject,
  ResourceObjectsResponse,
  Run,
  Schema,
  SchemaProposal,
  Source,
  SourceHealth,
  SourceSettings,
  SourceState,
  StatusResponse,
  TaskMessage,
  TaskStatus,
} from './models.ts'
