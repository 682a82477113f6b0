// `node scripts/rehearse-container.mjs`: plays the Dockerfile without a container engine. Every COPY and RUN happens as written, in
// mount namespaces with folders of their own over /opt, /etc and /var/lib; then the server starts as the image says, as
// its uid, without capabilities, on a read-only file system and a network of its own. Needs Linux and root; elsewhere it
// says so. What it cannot show is the base image: Node and the libraries are those of this machine.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const script = fileURLToPath(import.meta.url)
const limits = ['--clear-groups', '--no-new-privs', '--bounding-set=-all', '--inh-caps=-all']
const [, , role, given] = process.argv

if (role === '--inside') await inside(JSON.parse(given))
else outside()

function outside() {
  const missing = ['unshare', 'setpriv', 'mount', 'groupadd'].filter((name) => !isThere(name))
  if (process.platform !== 'linux' || process.getuid() !== 0) skip('it needs Linux and root')
  if (missing.length > 0) skip(`it needs ${missing.join(', ')}`)
  const work = mkdtempSync(join(tmpdir(), 'muster-container-'))
  // Where only root may enter, the uid of the image could not either.
  chmodSync(work, 0o755)
  try {
    const image = build(work)
    const args = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc']
    const { status } = spawnSync(
      'unshare',
      [...args, process.execPath, script, '--inside', JSON.stringify(image)],
      { stdio: 'inherit' },
    )
    process.exitCode = status ?? 1
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Plays the instructions; gives the last stage as an image: its folder and what it says of how to run it. */
function build(work) {
  const allowed = readFileSync(join(root, '.dockerignore'), 'utf8')
    .split('\n')
    .flatMap((line) => (line.startsWith('!') ? [line.slice(1)] : []))
  const stages = new Map()
  let stage
  for (const { name, text } of instructions(readFileSync(join(root, 'Dockerfile'), 'utf8'))) {
    if (name === 'FROM') {
      const label = / AS (\S+)$/i.exec(text)?.[1] ?? 'final'
      stage = { folder: join(work, label), workdir: '/', env: {}, user: '0:0' }
      mkdirSync(join(stage.folder, 'opt'), { recursive: true })
      mkdirSync(join(stage.folder, 'var/lib'), { recursive: true })
      cpSync('/etc', join(stage.folder, 'etc'), {
        recursive: true,
        verbatimSymlinks: true,
        filter: (path) => existsSync(path),
      })
      stages.set(label, stage)
    } else if (name === 'WORKDIR') {
      stage.workdir = text
      mkdirSync(join(stage.folder, text), { recursive: true })
    } else if (name === 'COPY') copy(stage, stages, allowed, text.split(/\s+/))
    else if (name === 'RUN') run(stage, text)
    else if (name === 'ENV') {
      for (const [, key, value] of text.matchAll(/(\w+)=(\S+)/g)) stage.env[key] = value
    } else if (name === 'USER') stage.user = text
    else if (name === 'HEALTHCHECK') stage.health = JSON.parse(text.slice(text.indexOf('[')))
    else if (name === 'ENTRYPOINT') stage.entrypoint = JSON.parse(text)
    else if (name === 'CMD') stage.command = JSON.parse(text)
  }
  return stage
}

function instructions(text) {
  return text
    .replaceAll(/^\s*#.*\n/gm, '')
    .replaceAll(/\\\n/g, ' ')
    .split('\n')
    .flatMap((line) => {
      const found = /^([A-Z]+)\s+(.*)$/.exec(line.trim())
      return found === null ? [] : [{ name: found[1], text: found[2].trim() }]
    })
}

function copy(stage, stages, allowed, words) {
  const from = words[0].startsWith('--from=') ? stages.get(words.shift().slice(7)) : undefined
  const target = words.pop()
  for (const source of words) {
    if (from === undefined && !allowed.includes(source))
      fail(`COPY ${source}: .dockerignore keeps it out`)
    const path = from === undefined ? join(root, source) : join(from.folder, source)
    const into = resolve(stage.workdir, target, target.endsWith('/') ? source : '')
    cpSync(path, join(stage.folder, into), { recursive: true, verbatimSymlinks: true })
  }
}

function run(stage, command) {
  process.stdout.write(`RUN ${command.slice(0, 100)}\n`)
  const mounts = ['/opt', '/etc', '/var/lib'].map(
    (path) => `mount --bind ${stage.folder}${path} ${path}`,
  )
  const { status, stdout } = spawnSync(
    'unshare',
    ['--mount', 'sh', '-e', '-c', `${mounts.join('\n')}\ncd ${stage.workdir}\n${command}`],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      encoding: 'utf8',
      env: { ...process.env, ...stage.env, npm_config_loglevel: 'error' },
    },
  )
  if (status !== 0) fail(`${stdout}\nRUN ended with ${status}`)
}

/** In namespaces of its own: makes the file system of the container, and tries what an orchestrator does. */
async function inside(image) {
  mount('--make-rprivate', '/')
  for (const path of ['/opt', '/etc', '/var/lib']) mount('--bind', join(image.folder, path), path)
  mount('-t', 'tmpfs', 'tmpfs', '/tmp', '-o', 'mode=1777,size=64m')
  mount('--bind', '/var/lib/muster', '/var/lib/muster')
  for (const path of ['/', '/opt', '/etc', '/var/lib']) mount('-o', 'remount,bind,ro', path)
  spawnSync('ip', ['link', 'set', 'lo', 'up'])

  const refused = await start(image, {})
  check(
    'the start is refused without TLS and without a trusted proxy',
    refused.exitCode !== 0 && /MUSTER_TLS_CERT/.test(refused.text()),
  )

  const secret = 'rehearsal-secret-0123456789'
  const settings = {
    MUSTER_TRUST_PROXY: '127.0.0.1',
    MUSTER_CLIENT_ID: 'admin',
    MUSTER_CLIENT_SECRET: secret,
  }
  for (const time of ['first', 'second']) {
    const server = await start(image, settings, true)
    const [command, ...args] = image.health
    const deadline = Date.now() + 60_000
    let healthy = false
    while (!healthy && server.process.exitCode === null && Date.now() < deadline) {
      healthy = asUser(image, {}, command, args).status === 0
      if (!healthy) await sleep(200)
    }
    check(`it is healthy by its HEALTHCHECK, the ${time} time`, healthy, server)
    const form = new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: 'admin',
      client_secret: secret,
    })
    const token = await fetch('http://127.0.0.1:8080/oauth/token', { method: 'POST', body: form })
    check('it gives a token', token.status === 200, server)
    const health = await fetch('http://127.0.0.1:8080/health/ready')
    check('health is not on the port of the API', health.status === 404, server)
    const ended = once(server.process, 'exit')
    server.process.kill('SIGTERM')
    const [code] = await ended
    check('it ends with 0 on SIGTERM', code === 0, server)
    check('its database has ended', !existsSync('/var/lib/muster/postgres/postmaster.pid'))
  }
  const names = readdirSync('/var/lib/muster')
  check(
    'no copy of the PostgreSQL programs is in the volume',
    !names.some((name) => name.startsWith('native-')) && !names.includes('programs'),
  )
  const written = asUser(image, {}, 'touch', ['/opt/muster/x'])
  check('the program cannot be written', written.status !== 0)
  process.stdout.write(`in the volume: ${names.join(' ')}\n`)
}

function withUser(image, words) {
  const [uid, gid] = image.user.split(':')
  return ['setpriv', [`--reuid=${uid}`, `--regid=${gid}`, ...limits, ...words]]
}

function environment(image, settings) {
  return { PATH: process.env['PATH'], ...image.env, ...settings }
}

function asUser(image, settings, program, args) {
  const [file, words] = withUser(image, [program, ...args])
  return spawnSync(file, words, {
    env: environment(image, settings),
    stdio: 'ignore',
    cwd: '/opt/muster',
  })
}

/** Starts the server; waits for its end unless it is to stay. */
async function start(image, settings, stays = false) {
  const [file, words] = withUser(image, [...image.entrypoint, ...image.command])
  const server = spawn(file, words, {
    env: environment(image, settings),
    cwd: image.workdir,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [server.stdout, server.stderr]) {
    stream.setEncoding('utf8').on('data', (piece) => (text += piece))
  }
  if (!stays) await once(server, 'close')
  return { process: server, exitCode: server.exitCode, text: () => text }
}

function mount(...args) {
  const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' })
  if (status !== 0) fail(`mount ${args.join(' ')}: ${stderr}`)
}

function check(what, holds, server) {
  process.stdout.write(`${holds ? 'ok     ' : 'FAILED '} ${what}\n`)
  if (holds) return
  if (server !== undefined) process.stdout.write(server.text())
  process.exit(1)
}

function isThere(name) {
  return spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status === 0
}

function skip(reason) {
  process.stdout.write(`skipped: the container cannot be rehearsed here, ${reason}\n`)
  process.exit(0)
}

function fail(line) {
  process.stderr.write(`${line}\n`)
  process.exit(1)
}
