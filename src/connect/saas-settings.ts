// Reads the settings of a source with a SaaS connector (`connectorAttributes`) into types.
import {
  readChoice,
  readFlag,
  readInteger,
  readText,
  settingError,
  type Settings,
} from '../core/setting.ts'

/** Where the connector runs. */
export type SaasPlace =
  | {
      readonly kind: 'url'
      readonly url: URL
      /** Sent as a bearer token, for a connector behind a proxy that asks for one. */
      readonly token: string | null
      readonly tlsCa: string | null
    }
  | {
      readonly kind: 'bundle'
      /** The folder that bundles lie in, as the engine names it. */
      readonly root: string
      /** The file, relative to that folder. */
      readonly file: string
      readonly memoryMb: number
    }

/** The settings of a source with a SaaS connector. */
export interface SaasSettings {
  readonly place: SaasPlace
  /** What the connector reads as its configuration, secrets in place. */
  readonly config: Settings
  /** Whether states are asked for when the connector supports them. */
  readonly stateful: boolean
  /** `confirm`: a long answer over HTTP is asked for again; `trust`: its clean end is enough. */
  readonly answerEnd: 'confirm' | 'trust'
  readonly silenceMs: number
  readonly maximumLineBytes: number
  readonly maximumBytes: number
}

/** The settings; throws `bad_setting`. */
export function readSaasSettings(given: Settings): SaasSettings {
  const config = readConfig(given)
  return {
    place: readPlace(given),
    config,
    // ISC keeps this switch among the settings of the connector; both places are looked at.
    stateful:
      readFlag(given, 'spConnEnableStatefulCommands', false) ||
      readFlag(config, 'spConnEnableStatefulCommands', false),
    answerEnd: readChoice(given, 'answerEnd', ['confirm', 'trust'], 'confirm'),
    silenceMs: readInteger(given, 'silenceSeconds', 180, 1, 86_400) * 1000,
    maximumLineBytes: readInteger(given, 'maximumLineBytes', 256 * 1024, 1024, 64 << 20),
    maximumBytes: readInteger(given, 'maximumMegabytes', 10_240, 1, 1 << 20) * 1024 * 1024,
  }
}

function readPlace(given: Settings): SaasPlace {
  const url = readText(given, 'url')
  const bundle = readText(given, 'bundle')
  if (url !== null && bundle !== null) {
    throw settingError(
      'bundle',
      'stands beside url',
      'Give either the url of a running connector or the path of its bundle.',
    )
  }
  if (bundle !== null) {
    const root = readText(given, 'bundleRoot')
    if (root === null) {
      throw settingError('bundle', 'cannot be used here', 'Start the connector and give its url.')
    }
    const memoryMb = readInteger(given, 'memoryMb', 512, 128, 65_536)
    return { kind: 'bundle', root, file: bundle, memoryMb }
  }
  if (url === null) {
    throw settingError(
      'url',
      'is missing',
      'Set url to a running connector, for example http://localhost:3000, or bundle to a file.',
    )
  }
  return {
    kind: 'url',
    url: readUrl(url),
    token: readText(given, 'token'),
    tlsCa: readText(given, 'tlsCa'),
  }
}

function readUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url !== null && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  throw settingError('url', 'is no URL of HTTP', 'Write it like http://localhost:3000.')
}

function readConfig(given: Settings): Settings {
  const config = given['config']
  if (config === undefined || config === null || config === '') return {}
  if (typeof config === 'object' && !Array.isArray(config)) return config as Settings
  throw settingError('config', 'is not an object', 'Write the settings of the connector as {…}.')
}
