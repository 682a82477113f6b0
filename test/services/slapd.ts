// Starts a real OpenLDAP (Debian's slapd) with a folder and a loopback port of its own, and ends it by its process.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { freePort, makeCertificate } from './own-server.ts'
import { directorySchema } from './slapd-schema.ts'

const run = promisify(execFile)

/** Who may do everything in a started server. */
export const admin = { dn: 'cn=admin,dc=example,dc=com', password: 'correct horse battery' }

/** The suffix of a started server. */
export const suffix = 'dc=example,dc=com'

export interface SlapdOptions {
  /** LDIF that the database begins with. */
  readonly ldif: string
  /** Further lines of slapd.conf within the database (limits, overlays). */
  readonly database?: readonly string[]
  /** Further lines of slapd.conf before the database. */
  readonly global?: readonly string[]
  /** Whether to add attributes and classes under the names of Active Directory. */
  readonly directory?: boolean
  /** LDIF of attributes of the root entry. */
  readonly root?: string
}

export interface Slapd {
  readonly port: number
  readonly tlsPort: number
  /** The certificate of the server, for `localhost`, in PEM; it signs itself. */
  readonly ca: string
  /** How many connections it has open. */
  connections(): Promise<number>
  /** Changes entries by LDIF as the administrator. */
  modify(ldif: string): Promise<void>
  /** Ends the server at once, as a crash does, and starts it again on the same ports. */
  restart(options?: { readonly root?: string }): Promise<void>
  stop(): Promise<void>
}

/** Starts a server. Throws when slapd is not installed. */
export async function startSlapd(options: SlapdOptions): Promise<Slapd> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-slapd-'))
  await mkdir(join(folder, 'data'))
  const ca = makeCertificate(folder)
  const port = await freePort()
  const tlsPort = await freePort()
  await writeFile(join(folder, 'root.ldif'), options.root ?? 'dn:\nobjectClass: top\n')
  await writeFile(join(folder, 'directory.schema'), directorySchema)
  await writeFile(join(folder, 'slapd.conf'), configuration(folder, options))
  await writeFile(join(folder, 'first.ldif'), options.ldif)
  await run('/usr/sbin/slapadd', [
    '-q',
    '-f',
    join(folder, 'slapd.conf'),
    '-l',
    join(folder, 'first.ldif'),
  ])
  let server = await launch(folder, port, tlsPort)
  return {
    port,
    tlsPort,
    ca,
    connections: async () => {
      // Of each line the second word is the local address and the fourth the state; 01: established.
      const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
      const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n')
      return lines.filter((text) => {
        const [, address, , state] = text.trim().split(/\s+/)
        return address === local && state === '01'
      }).length
    },
    modify: async (ldif) => {
      const changes = join(folder, 'changes.ldif')
      await writeFile(changes, ldif)
      const url = `ldap://127.0.0.1:${port}`
      await run('ldapmodify', [
        '-x',
        '-H',
        url,
        '-D',
        admin.dn,
        '-w',
        admin.password,
        '-f',
        changes,
      ])
    },
    restart: async (again = {}) => {
      await end(server)
      if (again.root !== undefined) await writeFile(join(folder, 'root.ldif'), again.root)
      server = await launch(folder, port, tlsPort)
    },
    stop: async () => {
      await end(server)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function configuration(folder: string, options: SlapdOptions): string {
  const schemas = ['core', 'cosine', 'inetorgperson', 'nis']
  return [
    ...schemas.map((name) => `include /etc/ldap/schema/${name}.schema`),
    ...(options.directory === true ? [`include ${join(folder, 'directory.schema')}`] : []),
    'modulepath /usr/lib/ldap',
    'moduleload back_mdb',
    'moduleload memberof',
    'moduleload ppolicy',
    `TLSCACertificateFile ${join(folder, 'server.crt')}`,
    `TLSCertificateFile ${join(folder, 'server.crt')}`,
    `TLSCertificateKeyFile ${join(folder, 'server.key')}`,
    `rootDSE ${join(folder, 'root.ldif')}`,
    'sizelimit unlimited',
    ...(options.global ?? []),
    'database mdb',
    'maxsize 1073741824',
    `suffix "${suffix}"`,
    `rootdn "${admin.dn}"`,
    `rootpw "${admin.password}"`,
    `directory ${join(folder, 'data')}`,
    'index objectClass,uid,member,memberUid,uniqueMember,entryUUID eq',
    ...(options.database ?? []),
    '',
  ].join('\n')
}

async function launch(folder: string, port: number, tlsPort: number): Promise<ChildProcess> {
  const listen = `ldap://127.0.0.1:${port} ldaps://127.0.0.1:${tlsPort}`
  // With -d the server stays in the foreground, so that it is this process that can be ended.
  const options = ['-f', join(folder, 'slapd.conf'), '-h', listen, '-d', '0']
  const server = spawn('/usr/sbin/slapd', options, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  server.stderr.on('data', (bytes: Buffer) => {
    said += bytes.toString()
  })
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (server.exitCode !== null) break
    if (await accepts(port)) return server
    await sleep(25)
  }
  server.kill('SIGKILL')
  throw new Error(`slapd did not start: ${said}`)
}

async function end(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const gone = once(server, 'exit')
  server.kill('SIGKILL')
  await gone
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
