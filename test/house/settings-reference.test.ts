// docs/reference/settings.md lists the settings that there are, with the defaults that they have.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { readConfig, settingNames } from '../../src/config.ts'

const page = readFileSync(new URL('../../docs/reference/settings.md', import.meta.url), 'utf8')
const rows = page.split('\n').flatMap((line) => {
  const cells = line.split('|').map((cell) => cell.trim())
  const name = /^`([A-Z_]+)`$/.exec(cells[1] ?? '')?.[1]
  return name === undefined ? [] : [{ name, fallback: /`([^`]*)`/.exec(cells[2] ?? '')?.[1] }]
})

describe('the page of settings', () => {
  it('lists every setting once and no other', () => {
    expect(rows.map((row) => row.name).toSorted()).toEqual(settingNames.toSorted())
  })

  it('tells the defaults that an empty environment gives', () => {
    const config = readConfig({})
    const told = Object.fromEntries(rows.map((row) => [row.name, row.fallback]))
    expect(told).toMatchObject({
      MUSTER_HOST: config.host,
      MUSTER_PORT: String(config.port),
      MUSTER_TRUST_PROXY: String(config.trustProxy),
      MUSTER_SPOOL_SHARED: String(config.spoolShared),
      MUSTER_RATE_LIMIT: String(config.rateLimit),
      MUSTER_MAX_UPLOAD_BYTES: String(config.maxUploadBytes),
      MUSTER_ALLOW_PRIVATE_ADDRESSES: String(config.allowPrivateAddresses),
      MUSTER_MIN_FREE_BYTES: String(config.minFreeBytes),
      MUSTER_LOG_LEVEL: config.logLevel,
      MUSTER_LEASE_SECONDS: String(config.leaseSeconds),
      MUSTER_CONCURRENT_RUNS: String(config.concurrentRuns),
      MUSTER_LOAD_SHORTCUTS: config.loadShortcuts,
      MUSTER_ORG: config.org,
    })
    expect(told['MUSTER_DATA_DIR']).toBe('./muster-data')
    expect(config.dataDir.endsWith('muster-data')).toBe(true)
  })
})
