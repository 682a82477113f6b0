// JSON from a server that nobody vouches for: held against limits while it arrives, and parsed without loss of digits.

/** A JSON object as it was parsed. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Deeper JSON is no answer of SCIM: a resource nests four or five levels. */
const depthLimit = 32

/**
 * More values than this in one body would take several times the memory of the body: an empty object is two bytes on
 * the wire and more than fifty here.
 */
const valueLimit = 4_000_000

/** So many digits may be more than a double holds. */
const longDigits = 16

/** Looks at the bytes of a body as they come. */
export interface JsonScan {
  /** Why the body cannot be taken, as the end of a sentence that begins with "The answer"; null: so far it can. */
  next(bytes: Uint8Array): string | null
  /** Whether there was a number with many digits. */
  readonly hasLongNumber: boolean
}

/** Counts depth and values of a JSON text without building anything. Broken JSON is left to the parser. */
export function scanJson(): JsonScan {
  let depth = 0
  let values = 0
  let digits = 0
  let hasLongNumber = false
  let inString = false
  let escaped = false

  /** Looks at a byte that is in no text; false: too deep. */
  const look = (byte: number): boolean => {
    if (byte >= 0x30 && byte <= 0x39) {
      digits += 1
      if (digits >= longDigits) hasLongNumber = true
      return true
    }
    digits = 0
    if (byte === 0x22) {
      inString = true
    } else if (byte === 0x2c) {
      values += 1
    } else if (byte === 0x7b || byte === 0x5b) {
      depth += 1
      values += 1
      return depth <= depthLimit
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1
    }
    return true
  }

  return {
    next: (bytes) => {
      for (const byte of bytes) {
        if (!inString) {
          if (!look(byte)) return `is nested more than ${depthLimit} levels deep`
        } else if (escaped) {
          escaped = false
        } else if (byte === 0x22) {
          inString = false
        } else if (byte === 0x5c) {
          escaped = true
        }
      }
      return values > valueLimit ? `holds more than ${valueLimit} values` : null
    },
    get hasLongNumber() {
      return hasLongNumber
    },
  }
}

/**
 * The JSON of a text, or undefined when it is none. With `hasLongNumber` whole numbers that are too long for a double
 * become texts of their digits.
 */
export function parseJson(text: string, hasLongNumber = false): unknown {
  try {
    return JSON.parse(hasLongNumber ? quoteLongNumbers(text) : text) as unknown
  } catch {
    return undefined
  }
}

function quoteLongNumbers(text: string): string {
  return text.replaceAll(/"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9]{16,}(?![0-9.eE])/g, (token: string) =>
    token.startsWith('"') ? token : `"${token}"`,
  )
}

/** Whether a parsed value is an object (not null, not a list). */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value of a name, whose case does not matter (RFC 7643, section 2.1). The exact name goes first. */
export function lookUp(object: JsonObject, name: string): unknown {
  if (Object.hasOwn(object, name)) return object[name]
  for (const key of Object.keys(object)) {
    if (key.length === name.length && key.toLowerCase() === name.toLowerCase()) return object[key]
  }
  return undefined
}
