// The phases of an attempt with their times, for the ledger and for progress.
import type { Phase } from '../store/runs.ts'

/** Notes when phases begin. `rows` of `begin` and `end` are those that the phase before handled. */
export interface Phases {
  begin(name: string, rowsBefore?: number): void
  /** Ends the last phase and gives all of them. */
  end(rows: number): readonly Phase[]
}

export function startPhases(onBegin: (name: string) => void): Phases {
  const phases: Phase[] = []
  let open: { readonly name: string; readonly started: string } | null = null
  const close = (rows: number): void => {
    if (open !== null) phases.push({ ...open, ended: new Date().toISOString(), rows })
    open = null
  }
  return {
    begin: (name, rowsBefore = 0) => {
      close(rowsBefore)
      open = { name, started: new Date().toISOString() }
      onBegin(name)
    },
    end: (rows) => {
      close(rows)
      return phases
    },
  }
}
