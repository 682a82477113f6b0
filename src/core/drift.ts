// Schema drift: what the columns of a file, or what a system delivers, lost and gained against the schema and the run before.
import { flagsName, identityName, keyName, quoteNames } from './layout.ts'
import type { TaskMessage } from './task.ts'

/** What columns have moved. Every list has the order of the file, or of the schema. */
export interface ColumnDrift {
  /** The run that the columns are compared with, the last one that had an effect; null when there is none. */
  readonly comparedWith: string | null
  /** Columns that the run before did not have. */
  readonly added: readonly string[]
  /** Columns that only the run before had. */
  readonly removed: readonly string[]
  /** Attributes of the schema that have no column. */
  readonly missing: readonly string[]
  /** Columns that are no attribute of the schema. */
  readonly extra: readonly string[]
}

/** The columns of a layout that are data: the spool of a direct source has some of its own. */
export function dataColumns(header: readonly string[]): readonly string[] {
  return header.filter((name) => name !== identityName && name !== keyName && name !== flagsName)
}

/** Compares columns with the schema, as their layout has it, and with those of the run before. */
export function columnDrift(
  columns: readonly string[],
  layout: { readonly undelivered: readonly string[]; readonly extra: readonly string[] },
  before: { readonly run: string; readonly columns: readonly string[] } | null,
): ColumnDrift {
  const [now, former] = [new Set(columns), new Set(before?.columns)]
  return {
    comparedWith: before?.run ?? null,
    added: before === null ? [] : columns.filter((name) => !former.has(name)),
    removed: before === null ? [] : before.columns.filter((name) => !now.has(name)),
    missing: layout.undelivered,
    extra: layout.extra,
  }
}

/**
 * What has moved since the run before, in words. It warns where the schema is concerned, which is said of every such file;
 * a column that came to its attribute, or one that nobody read and that is gone, is only told.
 */
export function driftMessages(drift: ColumnDrift): TaskMessage[] {
  const { added, removed } = drift
  if (added.length === 0 && removed.length === 0) return []
  const parts = [
    removed.length === 0 ? null : `lost ${quoteNames(removed)}`,
    added.length === 0 ? null : `gained ${quoteNames(added)}`,
  ].filter((part) => part !== null)
  const warns =
    removed.some((name) => drift.missing.includes(name)) ||
    added.some((name) => drift.extra.includes(name))
  return [
    {
      type: warns ? 'WARN' : 'INFO',
      key: `Since the last completed run the columns have ${parts.join(' and ')}.`,
    },
  ]
}
