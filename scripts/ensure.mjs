// Makes a clone ready to run: installs what is missing and, with --build, compiles what changed. Needs only Node and npm.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const stampPath = join(root, 'dist', '.built')

/** Installs and builds as far as needed; ends the process with a sentence when that fails. */
export function ensure({ build = true } = {}) {
  checkNode()
  if (!isInstalled()) install()
  if (build && !isBuilt()) compile()
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  fail(
    `Muster needs Node 20.19 or newer; this is ${process.versions.node}. Node 24 is recommended.`,
  )
}

// What npm wrote into node_modules is compared with the lock file by content: after a clone or a checkout the times of
// files say nothing. Optional packages (the database for other platforms) may be absent.
function isInstalled() {
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'))
  const wanted = readPackages(join(root, 'package-lock.json'))
  if (installed === undefined || wanted === undefined) return false
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true
    const found = installed[path]
    return found === undefined ? optional === true : found.version === version
  })
}

function readPackages(path) {
  if (!existsSync(path)) return undefined
  return JSON.parse(readFileSync(path, 'utf8')).packages
}

// No package of ours needs an install script, so none is run. The development packages hold the compiler, so they
// are installed whatever NODE_ENV says.
function install() {
  say('Installing what is missing (npm ci) …')
  const npm = process.env['npm_execpath']
  const args = [
    'ci',
    '--ignore-scripts',
    '--include=dev',
    '--include=optional',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]
  const options = { cwd: root, stdio: ['ignore', 2, 2] }
  const { status, error } =
    npm !== undefined && /\.[cm]?js$/.test(npm)
      ? spawnSync(process.execPath, [npm, ...args], options)
      : spawnSync('npm', args, { ...options, shell: process.platform === 'win32' })
  if (error !== undefined) fail(`npm could not be started: ${error.message}`)
  if (status !== 0) fail('npm ci failed; what it printed above says why.')
}

function isBuilt() {
  return existsSync(stampPath) && readFileSync(stampPath, 'utf8') === fingerprint()
}

// The fingerprint is taken before the compiler reads the files: a file that is saved meanwhile is compiled next time.
function compile() {
  say('Building (tsc) …')
  const stamp = fingerprint()
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  rmSync(stampPath, { force: true })
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) fail('The build failed; what tsc printed above says why.')
  removeOutputsWithoutSource()
  writeFileSync(stampPath, stamp)
}

function fingerprint() {
  const hash = createHash('sha256')
  const sources = filesBelow(join(root, 'src'))
  for (const path of [...sources, join(root, 'tsconfig.json'), join(root, 'package-lock.json')]) {
    const { size, mtimeMs } = statSync(path)
    hash.update(`${relative(root, path)}\0${size}\0${mtimeMs}\n`)
  }
  return hash.digest('hex')
}

// A renamed file would otherwise leave its old output behind, and an import of the old name would still work here.
function removeOutputsWithoutSource() {
  const dist = join(root, 'dist')
  for (const path of filesBelow(dist)) {
    const source = relative(dist, path).replace(/\.(?:js|d\.ts)(?:\.map)?$/, '.ts')
    if (!existsSync(join(root, 'src', source))) rmSync(path)
  }
}

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}${sep}${entry.name}`)
    .toSorted()
}

function say(line) {
  process.stderr.write(`${line}\n`)
}

function fail(line) {
  say(line)
  process.exit(1)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  ensure({ build: process.argv.includes('--build') })
}
