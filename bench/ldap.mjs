// A real OpenLDAP with generated accounts, and what a bare paged ldapsearch of them takes.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
const suffix = 'dc=example,dc=com'
const admin = { dn: `cn=admin,${suffix}`, password: 'bench' }

/** The attributes of an entry that are read, besides its DN and entryUUID. */
const attributes = [
  'uid',
  'cn',
  'sn',
  'givenName',
  'displayName',
  'mail',
  'telephoneNumber',
  'employeeNumber',
  'title',
  'departmentNumber',
  'l',
  'description',
]

/**
 * Starts slapd with that many accounts. `settings` are connectorAttributes of the kind `ldap` for them (loopback must be
 * allowed), `attributes` the attributes of the schema, `ldapsearchMs()` reads the same once with ldapsearch.
 */
export async function prepareLdap(rows) {
  const folder = await mkdtemp(join(tmpdir(), 'muster-bench-ldap-'))
  await mkdir(join(folder, 'data'))
  const port = await freePort()
  await writeFile(join(folder, 'slapd.conf'), configuration(folder))
  await pipeline(generate(rows), createWriteStream(join(folder, 'first.ldif')))
  const load = ['-q', '-w', '-f', join(folder, 'slapd.conf'), '-l', join(folder, 'first.ldif')]
  await run('/usr/sbin/slapadd', load)
  await rm(join(folder, 'first.ldif'))
  const url = `ldap://127.0.0.1:${port}`
  const server = await launch(folder, url, port)
  return {
    attributes: ['dn', ...attributes],
    settings: {
      url,
      bindDn: admin.dn,
      bindPassword: admin.password,
      baseDns: [`ou=people,${suffix}`],
      filter: '(objectClass=inetOrgPerson)',
      pageSize: 1000,
    },
    ldapsearchMs: () => ldapsearch(url),
    close: async () => {
      const gone = once(server, 'exit')
      server.kill('SIGKILL')
      await gone
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function ldapsearch(url) {
  const began = performance.now()
  const login = ['-x', '-LLL', '-H', url, '-D', admin.dn, '-w', admin.password]
  const what = [
    '-E',
    'pr=1000/noprompt',
    '-b',
    `ou=people,${suffix}`,
    '(objectClass=inetOrgPerson)',
  ]
  const options = [...login, ...what, ...attributes, 'entryUUID']
  const search = spawn('ldapsearch', options, { stdio: ['ignore', 'ignore', 'inherit'] })
  const [code] = await once(search, 'exit')
  if (code !== 0) throw new Error(`ldapsearch ended with ${code}`)
  return performance.now() - began
}

function configuration(folder) {
  return [
    ...['core', 'cosine', 'inetorgperson'].map((name) => `include /etc/ldap/schema/${name}.schema`),
    'modulepath /usr/lib/ldap',
    'moduleload back_mdb',
    'sizelimit unlimited',
    'database mdb',
    'maxsize 4294967296',
    `suffix "${suffix}"`,
    `rootdn "${admin.dn}"`,
    `rootpw ${admin.password}`,
    `directory ${join(folder, 'data')}`,
    'index objectClass,entryUUID eq',
    '',
  ].join('\n')
}

async function* generate(rows) {
  yield `dn: ${suffix}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n`
  yield `dn: ou=people,${suffix}\nobjectClass: organizationalUnit\nou: people\n\n`
  let text = ''
  for (let row = 0; row < rows; row += 1) {
    const uid = `user${String(row).padStart(7, '0')}`
    text += [
      `dn: uid=${uid},ou=people,${suffix}`,
      'objectClass: inetOrgPerson',
      `uid: ${uid}`,
      `cn: Given${row % 977} Family${row % 7919}`,
      `sn: Family${row % 7919}`,
      `givenName: Given${row % 977}`,
      `displayName: Family${row % 7919}, Given${row % 977}`,
      `mail: ${uid}@example.com`,
      `telephoneNumber: +49 30 ${1000000 + row}`,
      `employeeNumber: ${500000 + row}`,
      `title: Title ${row % 40}`,
      `departmentNumber: D${row % 300}`,
      `l: ${['Berlin', 'Lyon', 'Austin', 'Pune'][row % 4]}`,
      `description: Account number ${row} of the benchmark`,
      '',
      '',
    ].join('\n')
    if (text.length > 65_536) {
      yield text
      text = ''
    }
  }
  yield text
}

async function launch(folder, url, port) {
  const server = spawn(
    '/usr/sbin/slapd',
    ['-f', join(folder, 'slapd.conf'), '-h', url, '-d', '0'],
    { stdio: 'ignore' },
  )
  for (let attempt = 0; attempt < 400; attempt += 1) {
    const socket = connect(port, '127.0.0.1')
    const open = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (open) return server
    await sleep(25)
  }
  server.kill('SIGKILL')
  throw new Error('slapd did not start')
}

async function freePort() {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
}
