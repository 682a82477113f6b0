// The body of an answer as text: up to a limit, and of JSON only while it stays within bounds.
import { isUtf8 } from 'node:buffer'
import { RunError } from '../core/errors.ts'
import type { OutboundAnswer } from './outbound.ts'
import { parseJson, scanJson } from './scim-json.ts'

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

/**
 * A whole body, parsed; undefined when it is no JSON in UTF-8. Throws `answer_too_large` as soon as it is out of bounds.
 */
export async function readJsonBody(answer: OutboundAnswer, place: string): Promise<unknown> {
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
  const bytes = Buffer.concat(parts)
  // As strict as a fatal TextDecoder, which is slower for text beyond ASCII.
  if (!isUtf8(bytes)) return undefined
  const text = bytes.toString('utf8')
  return parseJson(text.startsWith('\uFEFF') ? text.slice(1) : text, scan.hasLongNumber)
}
