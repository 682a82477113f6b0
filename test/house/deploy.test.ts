// The image, Compose and the chart hold what docs/guides/containers.md promises. Where helm is installed the chart is
// rendered and compared with deploy/helm/golden; elsewhere the golden files must at least be those of this chart.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { settingNames } from '../../src/config.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const chart = join(root, 'deploy/helm/muster')
const text = (file: string): string => readFileSync(join(root, file), 'utf8')

/** Whatever YAML holds; tests say what they expect of it. */
type Yaml = Record<string, unknown>

const { version } = JSON.parse(text('package.json')) as { version: string }
const isKnown = (name: string): boolean =>
  settingNames.includes(name) || /^(?:OTEL|NODE)_/.test(name)

describe('the Dockerfile', () => {
  const file = text('Dockerfile')
  const last = file.slice(file.lastIndexOf('\nFROM '))

  it('ends in a stage that runs as a number which is not root, without packages to build with', () => {
    expect(last).toMatch(/^USER 10001:10001$/m)
    expect(last).toMatch(/^VOLUME \/var\/lib\/muster$/m)
    expect(last).not.toMatch(/\bnpm\b|apt-get|--from=build \S*node_modules/)
    expect(file.match(/^RUN npm ci .*$/gm)).toHaveLength(2)
    for (const line of file.match(/^RUN npm ci .*$/gm) ?? [])
      expect(line).toContain('--ignore-scripts')
    expect(file).toMatch(/^RUN npm ci --omit=dev /m)
  })

  it('asks for its health with node and not with a program that the base image lacks', () => {
    const [, json = '[]'] =
      /HEALTHCHECK[^[]*(\[.*\])/s.exec(last.split('ENTRYPOINT')[0] ?? '') ?? []
    const [program, flag, code = ''] = JSON.parse(json) as string[]
    expect([program, flag]).toEqual(['node', '--eval'])
    expect(code).toContain('/health/ready')
  })

  it('sets settings that exist, and neither TLS nor a trusted proxy: whoever runs it has to choose', () => {
    const names = [...last.matchAll(/(?:^ENV| ) *((?:MUSTER|NODE)_\w+)=/gm)].map(
      ([, name = '']) => name,
    )
    expect(names).toContain('MUSTER_HOST')
    expect(names.filter((name) => !isKnown(name))).toEqual([])
    expect(names).not.toContain('MUSTER_TRUST_PROXY')
  })

  it('copies nothing that .dockerignore keeps out, and nothing of a data folder can get in', () => {
    const rules = text('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(rules[0]).toBe('*')
    const allowed = rules.slice(1).map((rule) => rule.replace(/^!/, ''))
    const copied = (file.match(/^COPY (?!--from).*$/gm) ?? []).flatMap((line) =>
      line.split(/\s+/).slice(1, -1),
    )
    expect([...new Set(copied)].toSorted()).toEqual(allowed.toSorted())
    for (const name of allowed) expect(existsSync(join(root, name)), name).toBe(true)
  })

  it('has the version of the package, like Compose and the chart', () => {
    expect(file).toContain(`ARG VERSION=${version}`)
    expect(text('compose.yaml')).toContain(`image: muster:${version}`)
    const about = parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8')) as Yaml
    expect(about).toMatchObject({ version, appVersion: version })
  })
})

describe('Compose', () => {
  const compose = parse(text('compose.yaml')) as {
    services: Record<string, Yaml>
    secrets: Record<string, { file: string }>
    volumes: Yaml
  }
  const muster = compose.services['muster'] ?? {}

  it.each(Object.entries(compose.services))(
    'gives %s no rights and nothing to write but its volume',
    (_, service) => {
      expect(service).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        tmpfs: expect.arrayContaining([expect.stringMatching(/^\/tmp:/)]),
      })
      const [volume = ''] = service['volumes'] as string[]
      expect(Object.keys(compose.volumes)).toContain(volume.split(':')[0])
    },
  )

  it('opens the port on loopback unless told otherwise', () => {
    expect(muster['ports']).toEqual(['${MUSTER_PUBLISH:-127.0.0.1:8080}:8080'])
    expect(compose.services['database']).not.toHaveProperty('ports')
  })

  it('has its secrets in files, and no setting that does not exist', () => {
    const environment = muster['environment'] as Record<string, string>
    expect(Object.keys(environment).filter((name) => !isKnown(name))).toEqual([])
    for (const [name, value] of Object.entries(environment)) {
      if (name.endsWith('_FILE'))
        expect(compose.secrets).toHaveProperty(value.replace('/run/secrets/', ''))
      else expect(name).not.toMatch(/SECRET|KEY|DATABASE_URL/)
    }
    const used = Object.values(compose.services).flatMap(
      (service) => service['secrets'] as string[],
    )
    expect(used.toSorted()).toEqual(Object.keys(compose.secrets).toSorted())
    for (const { file } of Object.values(compose.secrets)) expect(file).toMatch(/^\.\/secrets\//)
    expect(text('.gitignore')).toMatch(/^\/secrets\/$/m)
  })

  it('starts Muster when a PostgreSQL 18 answers', () => {
    expect(compose.services['database']).toMatchObject({
      image: expect.stringMatching(/^postgres:18/),
      healthcheck: { test: expect.arrayContaining(['pg_isready']) },
    })
    expect(muster['depends_on']).toEqual({ database: { condition: 'service_healthy' } })
  })
})

describe('the chart', () => {
  const helm = process.env['HELM'] ?? 'helm'
  const isThere = spawnSync(helm, ['version'], { stdio: 'ignore' }).status === 0
  const cases = readdirSync(join(chart, 'ci')).map((name) => name.replace('-values.yaml', ''))
  const mark = `# Rendered from the chart with sha256 ${fingerprint()}; render again with UPDATE_HELM=1 and helm.\n`

  it.each(cases)('renders %s as the golden file says', (name) => {
    const golden = join(root, 'deploy/helm/golden', `${name}.yaml`)
    if (isThere) {
      const values = join('ci', `${name}-values.yaml`)
      const args = [
        'template',
        'demo',
        '.',
        '--namespace=identity',
        '--kube-version=1.31.0',
        '--values',
        values,
      ]
      const { stdout, stderr } = spawnSync(helm, args, { cwd: chart, encoding: 'utf8' })
      expect(stderr).not.toContain('Error')
      if (process.env['UPDATE_HELM'] !== undefined) writeFileSync(golden, mark + stdout)
      expect(readFileSync(golden, 'utf8')).toBe(mark + stdout)
      const lint = spawnSync(helm, ['lint', '--strict', '.', '--values', values], {
        cwd: chart,
        encoding: 'utf8',
      })
      expect(lint.status, lint.stdout).toBe(0)
    }
    expect(
      readFileSync(golden, 'utf8').startsWith(mark),
      'the chart changed after it was rendered',
    ).toBe(true)
  })

  it.each(cases)(
    'of %s runs a StatefulSet without rights, with three probes on the management port',
    (name) => {
      const set = objects(name).find(({ kind }) => kind === 'StatefulSet')
      expect(set).toMatchObject({
        spec: {
          template: {
            spec: {
              automountServiceAccountToken: false,
              securityContext: { runAsNonRoot: true, runAsUser: 10001, fsGroup: 10001 },
              containers: [
                {
                  securityContext: {
                    allowPrivilegeEscalation: false,
                    readOnlyRootFilesystem: true,
                    capabilities: { drop: ['ALL'] },
                  },
                  startupProbe: { httpGet: { path: '/health/started', port: 'management' } },
                  livenessProbe: { httpGet: { path: '/health/live', port: 'management' } },
                  readinessProbe: { httpGet: { path: '/health/ready', port: 'management' } },
                },
              ],
            },
          },
        },
      })
    },
  )

  it.each(cases)(
    'of %s sets settings that exist, once each, and mounts every file that they name',
    (name) => {
      const { env, mounts } = container(name)
      const names = env.map((variable) => variable.name)
      expect(names.filter((known) => !isKnown(known))).toEqual([])
      expect(new Set(names).size).toBe(names.length)
      const files = env.filter((variable) => /_FILE$|_TLS_/.test(variable.name))
      for (const { value } of files)
        expect(
          mounts.some((path) => value.startsWith(`${path}/`)),
          value,
        ).toBe(true)
      expect(
        names.some((known) => known === 'MUSTER_TRUST_PROXY' || known === 'MUSTER_TLS_CERT'),
      ).toBe(true)
    },
  )

  it('takes the secrets of three replicas from existing ones, and guards them with a disruption budget', () => {
    const { env } = container('replicas')
    const names = env.map((variable) => variable.name)
    expect(names).toEqual(
      expect.arrayContaining([
        'DATABASE_URL_FILE',
        'MUSTER_KEY_FILE',
        'MUSTER_CLIENT_SECRET_FILE',
        'MUSTER_TLS_KEY',
      ]),
    )
    const kinds = objects('replicas').map(({ kind }) => kind)
    expect(kinds).toContain('PodDisruptionBudget')
    expect(kinds).not.toContain('Secret')
    expect(objects('embedded').map(({ kind }) => kind)).not.toContain('PodDisruptionBudget')
  })

  it('describes every value in its schema, with the type that it has', () => {
    const values = parse(readFileSync(join(chart, 'values.yaml'), 'utf8')) as Yaml
    const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')) as {
      properties: Yaml
    }
    expect(
      Object.keys(schema.properties)
        .filter((name) => name !== 'global')
        .toSorted(),
    ).toEqual(Object.keys(values).toSorted())
    const nested = Object.entries(values).flatMap(([name, value]) => {
      const { properties } = schema.properties[name] as { properties?: Yaml }
      return properties === undefined
        ? []
        : [[name, Object.keys(properties).toSorted(), Object.keys(value as Yaml).toSorted()]]
    })
    for (const [name, described, given] of nested) expect(described, String(name)).toEqual(given)
  })

  function objects(name: string): Yaml[] {
    return parseAllDocuments(text(`deploy/helm/golden/${name}.yaml`)).map(
      (document) => document.toJS() as Yaml,
    )
  }

  function container(name: string): { env: { name: string; value: string }[]; mounts: string[] } {
    const set = objects(name).find(({ kind }) => kind === 'StatefulSet') as {
      spec: {
        template: {
          spec: {
            containers: {
              env: { name: string; value: string }[]
              volumeMounts: { mountPath: string }[]
            }[]
          }
        }
      }
    }
    const [first] = set.spec.template.spec.containers
    return {
      env: first?.env ?? [],
      mounts: first?.volumeMounts.map(({ mountPath }) => mountPath) ?? [],
    }
  }

  function fingerprint(): string {
    const hash = createHash('sha256')
    const files = readdirSync(chart, { recursive: true, encoding: 'utf8' }).toSorted()
    for (const file of files.filter((path) => /\.\w+$/.test(path))) {
      hash.update(`${file.replaceAll('\\', '/')}\0`).update(readFileSync(join(chart, file)))
    }
    return hash.digest('hex')
  }
})
