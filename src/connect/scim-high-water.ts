// Where the next delta begins: not later than the youngest change that was read, nor than the beginning of the read.
import { isJsonObject, lookUp } from './scim-json.ts'
import type { Resource } from './scim-pages.ts'

/** The clock that stamps changes may be another than the one that stamps answers. */
const skewMs = 60_000
/** Where a server does not tell its time, ours stands for it, with more distrust. */
const unknownSkewMs = 300_000

/** Watches the times of changes. */
export interface HighWater {
  note(resource: Resource): void
  /** Whether a delta gave what had not changed. */
  readonly sawOlder: boolean
  /**
   * The time for the next delta; null when some resource does not tell when it changed. A user that is changed after its
   * page was read is older than users of later pages: that is why the beginning of the read counts.
   */
  next(begunAtMs: number | null): number | null
}

/** `since`: where this delta began; null in a full read. */
export function openHighWater(since: number | null): HighWater {
  const openedAtMs = Date.now()
  let youngest: number | null = since
  let untold = false
  let sawOlder = false
  return {
    note: ({ body }) => {
      const meta = lookUp(body, 'meta')
      const told = isJsonObject(meta) ? lookUp(meta, 'lastModified') : null
      const time = typeof told === 'string' ? Date.parse(told) : Number.NaN
      if (Number.isNaN(time)) untold = true
      else if (youngest === null || time > youngest) youngest = time
      if (since !== null && time < since) sawOlder = true
    },
    get sawOlder() {
      return sawOlder
    },
    next: (begunAtMs) => {
      if (untold || youngest === null) return null
      const begun = begunAtMs === null ? openedAtMs - unknownSkewMs : begunAtMs - skewMs
      return Math.max(since ?? Number.NEGATIVE_INFINITY, Math.min(youngest, begun))
    },
  }
}
