// The body of an answer as text: up to a limit, and of JSON only while it stays within bounds.
import { RunError } from '../core/errors.ts'
import type { OutboundAnswer } from './outbound.ts'
import { scanJson } from './scim-json.ts'

/** The beginning of the body of an error: what is beyond the limit is not waited for, and what breaks off is enough. */
export async function readErrorBody(answer: OutboundAnswer, limitBytes: number): Promise<string> {
  const parts: Uint8Array[] = []
  let size = 0
  try {
    for await (const part of answer.body) {
      parts.push(part)
      size += part.length
      if (size > limitBytes) break
    }
  } catch {
    // The status says what is wrong; its explanation did not come.
  }
  answer.close()
  return Buffer.concat(parts).toString('utf8', 0, limitBytes)
}

/** A whole body of JSON; null when it is not UTF-8. Throws `answer_too_large` as soon as it is out of bounds. */
export async function readJsonBody(answer: OutboundAnswer, place: string): Promise<string | null> {
  const scan = scanJson()
  const parts: Uint8Array[] = []
  try {
    for await (const part of answer.body) {
      const problem = scan.next(part)
      if (problem !== null) {
        throw new RunError('answer_too_large', `The answer of ${place} ${problem}.`, {
          hint: 'Lower connectorAttributes.pageSize; if that does not help, the server does not answer with SCIM.',
        })
      }
      parts.push(part)
    }
  } finally {
    answer.close()
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts))
  } catch {
    return null
  }
}
