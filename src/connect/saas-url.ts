// Gives commands to a connector that runs elsewhere and speaks the protocol of the official SDK over HTTP.
import { RunError } from '../core/errors.ts'
import type { Settings } from '../core/setting.ts'
import type { OutboundAnswer, OutboundRequest } from './outbound.ts'
import type { ReaderTools } from './reader.ts'
import { readRetryAfter, retry } from './retry.ts'
import { bodyError, complaintLimit, textError } from './saas-errors.ts'
import { readLines } from './saas-lines.ts'
import { readAhead } from './saas-queue.ts'
import type { SaasPlace, SaasSettings } from './saas-settings.ts'
import { type Command, requestBody, type SaasTransport } from './saas-transport.ts'

type UrlPlace = Extract<SaasPlace, { readonly kind: 'url' }>

/**
 * The way to a connector behind a URL. The official runner of npm answers under every path but `/`, other runners only
 * under `/`: a URL without a path is tried with both, and what answered is kept.
 */
export function openUrl(
  place: UrlPlace,
  settings: SaasSettings,
  tools: ReaderTools,
): SaasTransport {
  let candidates = pathsOf(place.url)
  const ask = async (command: Command, signal: AbortSignal): Promise<OutboundAnswer> => {
    for (const [index, url] of candidates.entries()) {
      const answer = await tools.outbound.request(requestOf(url, place, settings, command, signal))
      if (answer.status === 200) {
        candidates = [url]
        return answer
      }
      const text = await headOf(answer)
      const wrongPath = answer.status === 404 && /^\s*</.test(text)
      if (wrongPath && index + 1 < candidates.length) continue
      // Only a page says that nothing answers here; a connector that fails was found.
      if (!wrongPath) candidates = [url]
      throw statusError(answer, text, command.config)
    }
    throw new Error('There is always one path.')
  }
  return {
    provesEnd: false,
    run: async function* run(command, attempts, signal) {
      const answer = await retry(() => ask(command, signal), { signal, attempts, log: tools.log })
      try {
        yield* readLines(readAhead(answer.body), settings, (text) =>
          textError(text, command.config),
        )
      } finally {
        answer.close()
      }
    },
    close: async () => {},
  }
}

function pathsOf(url: URL): readonly string[] {
  if (url.pathname !== '/' || url.search !== '') return [url.href]
  return [url.href, new URL('/invoke', url).href]
}

function requestOf(
  url: string,
  place: UrlPlace,
  settings: SaasSettings,
  command: Command,
  signal: AbortSignal,
): OutboundRequest {
  return {
    url,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/x-ndjson',
      ...(place.token === null ? {} : { authorization: `Bearer ${place.token}` }),
    },
    body: requestBody(command),
    ...(place.tlsCa === null ? {} : { tls: { ca: place.tlsCa } }),
    silenceMs: settings.silenceMs,
    limitBytes: settings.maximumBytes,
    signal,
  }
}

/** The first characters of a body; the rest is left. */
async function headOf(answer: OutboundAnswer): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  try {
    for await (const chunk of answer.body) {
      text += decoder.decode(chunk, { stream: true })
      if (text.length >= complaintLimit) break
    }
  } finally {
    answer.close()
  }
  return text.slice(0, complaintLimit)
}

const busy: ReadonlySet<number> = new Set([429, 502, 503, 504])

/** The error of an answer that is not 200. The official runner sends 500 with the reason when the connector fails at once. */
function statusError(answer: OutboundAnswer, text: string, config: Settings): Error {
  const { status } = answer
  if (busy.has(status)) {
    const error = new RunError('connector_busy', `The connector answered with HTTP ${status}.`, {
      hint: 'Look whether it is overloaded, or whether the proxy before it reaches it.',
      temporary: true,
    })
    const retryAfterMs = readRetryAfter(answer.headers['retry-after'])
    return retryAfterMs === null ? error : Object.assign(error, { retryAfterMs })
  }
  if (status === 401 || status === 403) {
    return new RunError('connector_failed', `The connector answered with HTTP ${status}.`, {
      hint: 'What stands before the connector asks for a token; look at connectorAttributes.token.',
    })
  }
  if (status === 413) {
    return new RunError('connector_failed', 'The connector takes no request so large (HTTP 413).', {
      hint: 'The official runner takes 100 kB, the state of the last delta included; run the connector as a bundle.',
    })
  }
  if (/^\s*</.test(text)) {
    return new RunError(
      'connector_failed',
      `The connector answered with HTTP ${status} and a page.`,
      {
        hint: 'Look at connectorAttributes.url and its path.',
      },
    )
  }
  return bodyError(text.trim() === '' ? `HTTP ${status} without a reason` : text, config)
}
