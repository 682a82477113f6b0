// Values of directories that are no plain texts: ids, times, flags.
import { type BinaryForm, toBase64 } from './ldap-entry.ts'

/** An objectGUID in its usual form. Its first three parts are little-endian. */
export const toGuid: BinaryForm = (value) => {
  if (value.length !== 16) return toBase64(value)
  const part = (order: readonly number[]): string =>
    order.map((at) => (value[at] ?? 0).toString(16).padStart(2, '0')).join('')
  const parts = [
    [3, 2, 1, 0],
    [5, 4],
    [7, 6],
    [8, 9],
    [10, 11, 12, 13, 14, 15],
  ]
  return parts.map(part).join('-')
}

/** A security identifier as `S-1-5-21-…`; base64 when it is none. */
export const toSid: BinaryForm = (value) => {
  const count = value[1] ?? 0
  if (value.length < 8 || value[0] !== 1 || value.length !== 8 + 4 * count) return toBase64(value)
  const authority = value.readUIntBE(2, 6)
  const rest = Array.from({ length: count }, (_, index) => value.readUInt32LE(8 + 4 * index))
  return ['S', 1, authority, ...rest].join('-')
}

const forms: ReadonlyMap<string, BinaryForm> = new Map([
  ['objectguid', toGuid],
  ['invocationid', toGuid],
  ['objectsid', toSid],
  ['sidhistory', toSid],
  ['tokengroups', toSid],
  ...[
    'jpegphoto',
    'photo',
    'thumbnailphoto',
    'thumbnaillogo',
    'audio',
    'userpassword',
    'unicodepwd',
    'usercertificate',
    'cacertificate',
    'usersmimecertificate',
    'userpkcs12',
    'certificaterevocationlist',
    'crosscertificatepair',
    'authorityrevocationlist',
    'javaserializeddata',
    'logonhours',
    'msexchmailboxguid',
    'ms-ds-consistencyguid',
    'ntsecuritydescriptor',
    'replpropertymetadata',
    'schemaidguid',
  ].map((name) => [name, toBase64] as const),
])

/** How the values of an attribute become texts; null: they are texts. */
export function formOf(name: string, binaryAttributes: readonly string[]): BinaryForm | null {
  const lower = name.toLowerCase()
  const known = forms.get(lower.split(';')[0] ?? '')
  if (known !== undefined) return known
  const named = binaryAttributes.some((binary) => binary.toLowerCase() === lower)
  return named || lower.endsWith(';binary') ? toBase64 : null
}

const generalizedTime =
  /^(\d{4})(\d{2})(\d{2})(\d{2})(?:(\d{2})(?:(\d{2}))?)?(?:[.,]\d+)?(Z|[+-]\d{2}(?:\d{2})?)$/

/**
 * A time of a directory in the form of ISO 8601: GeneralizedTime (20261122213000Z) and the 100 ns since 1601 of Active
 * Directory. Null for "never" (0 and the largest number). Any other text stays as it is.
 */
export function toIsoTime(text: string): string | null {
  const parts = generalizedTime.exec(text)
  if (parts !== null) {
    const [, year, month, day, hour, minute = '00', second = '00', zone = 'Z'] = parts
    const offset = zone === 'Z' ? 'Z' : `${zone.slice(0, 3)}:${zone.slice(3) || '00'}`
    return `${year}-${month}-${day}T${hour}:${minute}:${second}${offset}`
  }
  if (text === '0' || text === '9223372036854775807') return null
  if (!/^\d{17,18}$/.test(text)) return text
  const milliseconds = Number(BigInt(text) / 10_000n - 11_644_473_600_000n)
  return new Date(milliseconds).toISOString()
}

/** TRUE and FALSE of LDAP in lower case. */
export function toBooleanText(text: string): string {
  return text.toLowerCase()
}

/** The attributes that tell whether an account is disabled or locked. */
export const stateAttributes = {
  ldap: ['pwdAccountLockedTime', 'nsAccountLock'],
  'active-directory': ['userAccountControl', 'msDS-User-Account-Control-Computed', 'lockoutTime'],
} as const

export interface AccountState {
  readonly disabled: boolean
  readonly locked: boolean
}

const [disabledBit, lockedBit] = [2, 16]
const lockedForEver = '000001010000Z'

/** The state of an account of OpenLDAP (password policy) and of 389 Directory Server (nsAccountLock). */
export function ldapState(lockedTime: string | null, accountLock: string | null): AccountState {
  return {
    disabled: lockedTime === lockedForEver || accountLock?.toLowerCase() === 'true',
    locked: lockedTime !== null && lockedTime !== lockedForEver,
  }
}

/**
 * The state of an account of Active Directory. The computed flags know whether a lock is over; without them a
 * lockoutTime counts until the next login sets it to 0.
 */
export function directoryState(
  control: string | null,
  computed: string | null,
  lockoutTime: string | null,
): AccountState {
  const flags = Number(control ?? 0)
  const locked =
    computed === null
      ? (flags & lockedBit) !== 0 || (lockoutTime !== null && lockoutTime !== '0')
      : (Number(computed) & lockedBit) !== 0
  return { disabled: (flags & disabledBit) !== 0, locked }
}
