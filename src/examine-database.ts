// What `muster doctor` says of the database of DATABASE_URL. Nothing of the URL but host and database is ever shown.
import { doubtful, fine, wrong } from './core/finding.ts'
import type { Finding } from './core/finding.ts'
import { diagnoseDatabase } from './store/diagnosis.ts'
import type { DatabaseDiagnosis } from './store/diagnosis.ts'
import { readMigrations } from './store/migrate.ts'

const oldestServer = 15
/** The pool of one process, its eyes, and two runs with their threads. */
const connectionsOfProcess = 18
const mostClockSeconds = 5

/** Looks at the database and says what keeps Muster from using it. */
export async function examineDatabase(url: string): Promise<readonly Finding[]> {
  const place = placeOf(url)
  let found: DatabaseDiagnosis
  try {
    found = await diagnoseDatabase({ connectionString: url })
  } catch (error) {
    return [unreachable(place, error)]
  }
  const known = (await readMigrations()).length
  return [
    examineVersion(place, found),
    ...examineRights(found),
    ...examineSchema(found, known),
    ...examineConnection(found),
    examineClock(found),
  ]
}

/** Host and database of a URL, without user and password. */
function placeOf(url: string): string {
  const { hostname, port, pathname, searchParams } = new URL(url)
  const host = hostname === '' ? (searchParams.get('host') ?? 'the default socket') : hostname
  return `${host}${port === '' ? '' : `:${port}`}${pathname}`
}

function unreachable(place: string, error: unknown): Finding {
  const name = 'database'
  const code = textOf(error, 'code')
  const reason =
    error instanceof Error && error.message !== '' ? error.message : (code ?? 'no reason')
  if (/unsupported startup parameter/i.test(reason)) {
    return wrong(
      name,
      `${place} is a pooler that does not take the options of a session`,
      'Let DATABASE_URL name the PostgreSQL itself: runs use long transactions, COPY and the state of their session.',
    )
  }
  if (code?.startsWith('28') === true) {
    const advice =
      'Check user and password in DATABASE_URL, special characters percent-encoded, and pg_hba.conf.'
    return wrong(name, `${place} refuses this login (${code})`, advice)
  }
  if (code === '3D000') {
    return wrong(
      name,
      `${place}: there is no such database`,
      'Create it, owned by the user of DATABASE_URL.',
    )
  }
  if (code === '53300') {
    return wrong(
      name,
      `${place} has no connection left`,
      'Raise max_connections, or end what holds them.',
    )
  }
  const advice =
    'Check host and port in DATABASE_URL, whether PostgreSQL runs and listens there, and the firewall.'
  return wrong(name, `${place} does not answer: ${reason}`, advice)
}

function examineVersion(place: string, found: DatabaseDiagnosis): Finding {
  const text = `${place} is PostgreSQL ${found.version}`
  if (found.versionNumber >= oldestServer * 10_000) return fine('database', text)
  const advice = `Upgrade it to ${oldestServer} or later, or unset DATABASE_URL for the embedded one.`
  return wrong('database', text, advice)
}

function examineRights(found: DatabaseDiagnosis): Finding[] {
  const name = 'database rights'
  const findings: Finding[] = []
  if (found.readOnly) {
    const advice =
      'Let DATABASE_URL name the primary, for example with several hosts and target_session_attrs=read-write.'
    findings.push(wrong(name, 'it takes no writes: a standby, or told to be read-only', advice))
  }
  if (found.schema === null) {
    const advice = 'Create the schema, or correct the search_path of the role or of DATABASE_URL.'
    findings.push(wrong(name, 'no schema of the search_path exists', advice))
  } else if (!found.mayCreate) {
    const advice = `Connect as the owner of the database, or: grant usage, create on schema ${found.schema} to <role>`
    findings.push(wrong(name, `the role may not create tables in schema ${found.schema}`, advice))
  }
  if (found.encoding !== 'UTF8') {
    const advice = "Create the database with encoding 'UTF8' and template template0."
    findings.push(
      wrong(name, `its encoding is ${found.encoding}: most names cannot be stored`, advice),
    )
  }
  return findings.length > 0
    ? findings
    : [fine(name, `tables may be made in schema ${found.schema ?? ''}`)]
}

function examineSchema(found: DatabaseDiagnosis, known: number): Finding[] {
  const name = 'schema'
  const version = found.schemaVersion
  if (version === null) return [fine(name, 'no Muster has used this database yet')]
  if (version > known) {
    const advice = 'Start that version or a later one here too. Nothing is lost.'
    return [wrong(name, `a newer Muster made it (${version}; this one knows ${known})`, advice)]
  }
  if (version === known) return [fine(name, `migration ${version}, that of this version`)]
  return [fine(name, `migration ${version}; the next start brings it to ${known}`)]
}

function examineConnection(found: DatabaseDiagnosis): Finding[] {
  const findings: Finding[] = []
  if (found.pooled) {
    findings.push(
      wrong(
        'pooler',
        'statements of one connection reach several servers: a pooler in transaction mode',
        'Let DATABASE_URL name the PostgreSQL itself or a pooler in session mode: runs need their session.',
      ),
    )
  }
  if (found.freeConnections < connectionsOfProcess) {
    findings.push(
      doubtful(
        'connections',
        `${found.freeConnections} connections are free, and each process may use ${connectionsOfProcess}`,
        'Raise max_connections of the database.',
      ),
    )
  }
  if (found.encrypted === false) {
    findings.push(
      doubtful(
        'database link',
        'the connection is not encrypted: accounts travel in the clear',
        'On another machine add ?sslmode=verify-full&sslrootcert=<file> to DATABASE_URL.',
      ),
    )
  }
  return findings
}

function examineClock(found: DatabaseDiagnosis): Finding {
  const seconds = Math.abs(found.clockSeconds)
  if (seconds < mostClockSeconds) return fine('database clock', 'the same as ours')
  const advice = 'Set both clocks by NTP: leases go by the clock of the database, tokens by ours.'
  return doubtful('database clock', `${Math.round(seconds)} s apart from ours`, advice)
}

function textOf(error: unknown, key: string): string | undefined {
  const value: unknown = error instanceof Error ? Reflect.get(error, key) : undefined
  return typeof value === 'string' ? value : undefined
}
