// What an examination finds: a thing, whether it is in order, and what to do when it is not.

/** One line of `muster doctor`. No text of it holds a secret. */
export interface Finding {
  readonly name: string
  readonly outcome: 'ok' | 'warn' | 'fail'
  readonly finding: string
  /** What to do; null when there is nothing to do. */
  readonly advice: string | null
}

/** In order. */
export function fine(name: string, finding: string): Finding {
  return { name, outcome: 'ok', finding, advice: null }
}

/** It works, but will not always, or not as well as it could. */
export function doubtful(name: string, finding: string, advice: string): Finding {
  return { name, outcome: 'warn', finding, advice }
}

/** It does not work. */
export function wrong(name: string, finding: string, advice: string): Finding {
  return { name, outcome: 'fail', finding, advice }
}
