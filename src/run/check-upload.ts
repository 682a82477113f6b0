// Looks at the header of an upload before its run is made: names that cannot be told apart are answered at once.
import { readDialect } from '../core/dialect.ts'
import { RequestError, RunError } from '../core/errors.ts'
import { headerProblem } from '../core/layout.ts'
import type { Source } from '../core/source.ts'
import { readHeader } from './job.ts'
import { isGzip } from './unpack.ts'

/**
 * Throws `bad_request` when column names are empty, stand twice or differ only in case. Whatever else
 * is wrong with a file is the run's to tell: its task keeps the reason. So it does of a file that has to be unpacked first.
 */
export function checkUpload(path: string, source: Source): void {
  const header = headerOf(path, source)
  if (header === null || header.length === 0) return
  const problem = headerProblem(header)
  if (problem === null) return
  throw new RequestError('bad_request', problem, {
    // The second sentence is for scripts that join the lines of a file before they send it (contract.md section 5 #24).
    hint: 'Give every column a name of its own in the first line of the file. If records stand behind the header in that line, the line ends were lost before the upload.',
  })
}

function headerOf(path: string, source: Source): readonly string[] | null {
  try {
    if (isGzip(path)) return null
    return readHeader(path, readDialect(source.connectorAttributes))
  } catch (error) {
    if (error instanceof RunError) return null
    throw error
  }
}
