// What an LDAP server refuses becomes an error that names the reason and what to do about it.
import { RunError } from '../core/errors.ts'

/** The end of an operation. */
export interface LdapResult {
  readonly code: number
  readonly message: string
  /** The last entry on the way to the one asked for that exists. */
  readonly matchedDn: string
  /** The cookie of a paged search; null when the server sent no control for it. */
  readonly cookie: Buffer | null
}

interface Refusal {
  readonly code: string
  readonly says: string
  readonly hint: string
  readonly temporary?: boolean
}

const loginHint = 'Correct bindDn and bindPassword of the source.'
const limitHint =
  'Give the account of bindDn higher limits on the server, or set a smaller pageSize.'

const refusals: ReadonlyMap<number, Refusal> = new Map([
  [
    1,
    {
      code: 'ldap_failed',
      says: 'reports an error of its operation',
      hint: 'Active Directory answers so when nobody is logged in: set bindDn and bindPassword.',
    },
  ],
  [
    3,
    {
      code: 'time_limit',
      says: 'gave up at its time limit',
      hint: 'Give the account of bindDn a higher time limit, index the attributes of the filter, or narrow the filter.',
    },
  ],
  [4, { code: 'size_limit', says: 'stopped at its size limit', hint: limitHint }],
  [
    8,
    {
      code: 'tls_required',
      says: 'wants a stronger login',
      hint: 'Use an ldaps:// url, or set startTls.',
    },
  ],
  [
    10,
    {
      code: 'referral',
      says: 'says that another server has this base',
      hint: 'Set the url of the server that holds the base; referrals are not followed.',
    },
  ],
  [11, { code: 'admin_limit', says: 'stopped at an administrative limit', hint: limitHint }],
  [
    12,
    {
      code: 'ldap_unsupported',
      says: 'does not support a control of the request',
      hint: 'Set pageSize to 0 when the server knows no paged results.',
    },
  ],
  [
    13,
    {
      code: 'tls_required',
      says: 'wants an encrypted connection',
      hint: 'Use an ldaps:// url, or set startTls.',
    },
  ],
  [
    32,
    {
      code: 'base_missing',
      says: 'has no such entry, or hides it',
      hint: 'Correct the base DN, or let the account of bindDn read it.',
    },
  ],
  [34, { code: 'base_missing', says: 'takes the name for no DN', hint: 'Correct the base DN.' }],
  [48, { code: 'credentials_refused', says: 'refused this kind of login', hint: loginHint }],
  [49, { code: 'credentials_refused', says: 'refused the login', hint: loginHint }],
  [
    50,
    {
      code: 'access_refused',
      says: 'does not let this account read',
      hint: 'Give the account of bindDn the right to read the base.',
    },
  ],
  [
    51,
    {
      code: 'busy',
      says: 'is busy',
      hint: 'Wait; if it lasts, ask whoever runs the server.',
      temporary: true,
    },
  ],
  [
    52,
    {
      code: 'unavailable',
      says: 'is not available',
      hint: 'Wait; if it lasts, ask whoever runs the server.',
      temporary: true,
    },
  ],
  [
    53,
    {
      code: 'ldap_failed',
      says: 'is unwilling to do this',
      hint: 'The text of the server says why; a login without a password may be forbidden.',
    },
  ],
])

/** Reasons that Active Directory hides in the text of a refused login. */
const loginReasons: ReadonlyMap<string, string> = new Map([
  ['525', 'there is no such account'],
  ['52e', 'the password is wrong'],
  ['530', 'it may not log in at this time'],
  ['531', 'it may not log in from here'],
  ['532', 'the password has expired'],
  ['533', 'the account is disabled'],
  ['701', 'the account has expired'],
  ['773', 'the password must be changed first'],
  ['775', 'the account is locked'],
])

/** The error of a result that is no success. `subject` begins its sentence: `The search below "dc=…"`. */
export function resultError(result: LdapResult, subject: string): RunError {
  const refusal = refusals.get(result.code)
  const said = refusal?.says ?? `answered with the result ${result.code}`
  const reason = loginReasons.get(/, data ([0-9a-f]{3}),/.exec(result.message)?.[1] ?? '')
  const text = reason ?? trimMessage(result.message)
  return new RunError(
    refusal?.code ?? 'ldap_failed',
    `${subject} failed: the server ${said}${text === '' ? '' : ` (${text})`}.`,
    {
      hint: refusal?.hint ?? 'Look up the number among the result codes of LDAP.',
      temporary: refusal?.temporary ?? false,
    },
  )
}

/** What the server says, on one line and not without end. */
function trimMessage(message: string): string {
  const line = message.replace(/[\s\0]+/g, ' ').trim()
  return line.length > 200 ? `${line.slice(0, 200)}…` : line.replace(/\.$/, '')
}

/** The error of an answer that is not LDAP, or that does not fit what was asked. */
export function protocolError(reason: string): RunError {
  return new RunError('protocol_broken', `The LDAP server sent ${reason}.`, {
    hint: 'Check that url leads to an LDAP server, and nothing in between changes what it sends.',
  })
}
