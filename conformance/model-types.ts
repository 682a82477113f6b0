// Checked by the compiler alone: the models of our client are what the official SDK declares, name by name and type by type.
import type * as Theirs from 'sailpoint-api-client'
import type * as Ours from '../src/client/models.ts'

/**
 * What both sides are compared as: enums are texts, readonly does not matter, and null is taken out of values, because
 * the SDK declares null where its specification did, and the wire has it more often. Optional stays optional.
 */
type Plain<T, Unknown> = unknown extends T
  ? Unknown
  : T extends string
    ? string
    : T extends number
      ? number
      : T extends boolean
        ? boolean
        : T extends readonly (infer Element)[]
          ? Plain<Element, Unknown>[]
          : T extends object
            ? { -readonly [Key in keyof T]: Plain<Exclude<T[Key], null>, Unknown> }
            : T

/** The names that the SDK declares, without index signatures. */
type Names<T> = keyof { [Key in keyof T as string extends Key ? never : Key]: T[Key] }

/**
 * True when a value of ours can stand where the SDK expects one of its own, and no field of ours is unknown to it but
 * those in `Known`. Otherwise the reason.
 */
type Fits<Mine, Sdk, Known extends string = never> =
  Plain<Mine, never> extends Plain<Sdk, unknown>
    ? Exclude<Names<Mine>, Names<Sdk> | Known> extends never
      ? true
      : { readonly unknownToTheSdk: Exclude<Names<Mine>, Names<Sdk> | Known> }
    : { readonly doesNotFit: Plain<Mine, never>; readonly expected: Plain<Sdk, unknown> }

type Holds<Check extends true> = Check

/** Only in specifications newer than this SDK. */
type NewerFields =
  | 'totalAccountsMarkedForDeletion'
  | 'deletedAccounts'
  | 'totalIdentities'
  | 'processedIdentities'

type LoadTask = Ours.LoadAccountsTask['task']
type BetaLoadTask = NonNullable<Theirs.LoadAccountsTaskBeta['task']>
type V2024LoadTask = NonNullable<Theirs.LoadAccountsTaskV2024['task']>

/** Each line fails to compile when a model of ours and one of the SDK part. */
export type Checks = readonly [
  Holds<Fits<Ours.Source, Theirs.SourceBeta>>,
  Holds<Fits<Ours.Source, Theirs.Source>>,
  Holds<Fits<Ours.Source, Theirs.SourceV2024>>,
  Holds<Fits<Ours.Schema, Theirs.SchemaBeta>>,
  Holds<Fits<Ours.Schema, Theirs.Schema>>,
  Holds<Fits<Ours.Schema, Theirs.SchemaV2024>>,
  Holds<Fits<Ours.AttributeDefinition, Theirs.AttributeDefinitionBeta, 'nativeName'>>,
  Holds<Fits<Ours.AttributeDefinition, Theirs.AttributeDefinition, 'nativeName'>>,
  Holds<Fits<Ours.AttributeDefinition, Theirs.AttributeDefinitionV2024, 'nativeName'>>,
  Holds<Fits<Ours.LoadAccountsTask, Theirs.LoadAccountsTaskBeta>>,
  Holds<Fits<Ours.LoadAccountsTask, Theirs.LoadAccountsTaskV2024>>,
  Holds<Fits<LoadTask, BetaLoadTask>>,
  Holds<Fits<LoadTask, V2024LoadTask>>,
  Holds<Fits<Ours.TaskStatus, Theirs.TaskStatusBeta>>,
  Holds<Fits<Ours.TaskStatus, Theirs.TaskStatusV2024>>,
  Holds<Fits<Ours.TaskMessage, Theirs.TaskStatusMessageBeta>>,
  Holds<Fits<Ours.TaskMessage, Theirs.TaskStatusMessageV2024>>,
  Holds<Fits<Ours.AggregationStatus, Theirs.AccountAggregationStatusBeta, NewerFields>>,
  Holds<Fits<Ours.AggregationStatus, Theirs.AccountAggregationStatusV2024, NewerFields>>,
  Holds<Fits<Ours.StatusResponse, Theirs.StatusResponseBeta>>,
  Holds<Fits<Ours.StatusResponse, Theirs.StatusResponseV2024>>,
  Holds<Fits<Ours.ResourceObjectsResponse, Theirs.ResourceObjectsResponseBeta>>,
  Holds<Fits<Ours.ResourceObjectsResponse, Theirs.ResourceObjectsResponseV2024>>,
  Holds<Fits<Ours.SourceHealth, Theirs.SourceHealthDto>>,
  Holds<Fits<Ours.SourceHealth, Theirs.SourceHealthDtoV2024>>,
  Holds<Fits<Ours.Account, Theirs.AccountBeta>>,
  Holds<Fits<Ours.Account, Theirs.Account>>,
  Holds<Fits<Ours.Account, Theirs.AccountV2024>>,
]
