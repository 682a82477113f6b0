// The documents lead where they say: every relative link has a file, every npm script that they name exists.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const pages = ['.', 'docs', 'examples'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: folder !== '.', withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name))),
)
const text = (page: string): string => readFileSync(join(root, page), 'utf8')

describe('the documents', () => {
  it('are there', () => {
    expect(pages).toEqual(
      expect.arrayContaining(['README.md', 'ARCHITECTURE.md', 'docs/start.md', 'SECURITY.md']),
    )
  })

  it('link to files that exist', () => {
    const dead = pages.flatMap((page) =>
      [...text(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map(([, target = '']) => target)
        .filter((target) => !/^[a-z]+:/.test(target))
        .filter((target) => !existsSync(join(root, dirname(page), target)))
        .map((target) => `${page} → ${target}`),
    )
    expect(dead).toEqual([])
  })

  it('have a map of the code with every file in it, and no file that is gone', () => {
    const map = text('ARCHITECTURE.md')
      .split(/^\*\*`/m)
      .slice(1)
    for (const section of map) {
      const folder = section.slice(0, section.indexOf('`'))
      const body = section.slice(section.indexOf('`') + 1).split(/\n\n(?!- )/)[0] ?? ''
      const named = [...body.matchAll(/`([a-z0-9-]+)`/g)].map(([, name = '']) => name)
      const files = readdirSync(join(root, folder)).filter((name) => name.endsWith('.ts'))
      expect(
        { folder, files: [...new Set(named)].toSorted() },
        'ARCHITECTURE.md names the files of each folder; add the new one, remove the old one',
      ).toEqual({
        folder,
        files: files.map((name) => name.replace(/\.ts$/, '')).toSorted(),
      })
    }
    expect(map).toHaveLength(8)
  })

  it('name every code that a run or a probe can end with', () => {
    const source = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => text(join('src', file)))
    const codes = source.flatMap((code) =>
      [...code.matchAll(/new RunError\(\s*'([a-z_]+)'/g)].map(([, name = '']) => name),
    )
    expect(codes.length).toBeGreaterThan(50)
    const told = pages.map(text).join('\n')
    expect([...new Set(codes)].filter((code) => !told.includes(`\`${code}\``))).toEqual([])
  })

  it('name npm scripts that exist', () => {
    const { scripts } = JSON.parse(text('package.json')) as { scripts: Record<string, string> }
    const named = pages.flatMap((page) =>
      [...text(page).matchAll(/npm (?:run )?(\w[\w:-]*)/g)].map(([, name = '']) => name),
    )
    const verbs = [
      'ci',
      'exec',
      'install',
      'and',
      'alone',
      'packages',
      'registry',
      'writes',
      'is',
      'sbom',
      'pack',
      'uninstall',
      'sees',
    ]
    const unknown = named.filter((name) => !(name in scripts) && !verbs.includes(name))
    expect([...new Set(unknown)]).toEqual([])
  })

  it('name files of the sources that exist', () => {
    const dead = pages
      .filter((page) => page !== 'CHANGELOG.md')
      .flatMap((page) =>
        [...text(page).matchAll(/`((?:src|test|scripts|conformance|bench|sql)\/[\w./-]+)`/g)]
          .map(([, target = '']) => target)
          .filter((target) => !existsSync(join(root, target)))
          .map((target) => `${page} → ${target}`),
      )
    expect(dead).toEqual([])
  })
})
