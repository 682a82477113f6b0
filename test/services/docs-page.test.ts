// The API page in a real browser: it asks nobody but this server, keeps its own policy, and calls an endpoint with a token it got.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { createApp } from '../../src/app.ts'
import type { App } from '../../src/app.ts'
import { openLog } from '../../src/api/logging.ts'
import { readConfig } from '../../src/config.ts'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { testDatabase } from '../support/database.ts'
import { databaseUrl } from '../support/server-process.ts'

const undo: (() => Promise<unknown>)[] = []
let app: App
let browser: Browser

beforeAll(async () => {
  const database = await testDatabase()
  undo.push(() => database.drop())
  const folder = await mkdtemp(join(tmpdir(), 'muster-docs-'))
  undo.push(() => rm(folder, { recursive: true }))
  app = await createApp(
    readConfig({
      MUSTER_PORT: '0',
      MUSTER_DATA_DIR: folder,
      MUSTER_KEY: generateMasterKey(),
      DATABASE_URL: databaseUrl(database.settings),
    }),
    { log: openLog('silent') },
  )
  undo.push(() => app.close())
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  undo.push(() => browser.close())
}, 120_000)
afterAll(async () => {
  for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step()
})

/** A page and all that it asked for and complained about. */
async function openPage(): Promise<{
  readonly page: Page
  readonly requests: string[]
  readonly complaints: string[]
}> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
  // A machine that is busy with other things takes its time to lay out a document of a megabyte.
  page.setDefaultTimeout(120_000)
  const requests: string[] = []
  const complaints: string[] = []
  page.on('request', (request) => requests.push(request.url()))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
  })
  page.on('pageerror', (error) => complaints.push(error.message))
  const response = await page.goto(`${app.url}/docs`, { waitUntil: 'load' })
  expect(response?.status()).toBe(200)
  expect(response?.headers()['content-security-policy']).toContain("default-src 'self'")
  return { page, requests, complaints }
}

describe('the API page', () => {
  it('is whole without any request to another server, and breaks its policy nowhere', async () => {
    const { page, requests, complaints } = await openPage()
    await page.locator('.opblock-tag').first().waitFor()
    expect(await page.locator('.opblock-tag').count()).toBeGreaterThan(5)
    expect(await page.locator('.download-url-wrapper').isVisible()).toBe(false)
    const shot = process.env['MUSTER_SCREENSHOT']
    if (shot !== undefined) await page.screenshot({ path: shot })
    const outside = requests.filter((url) => !url.startsWith(`${app.url}/`) && !isInline(url))
    expect(requests.length).toBeGreaterThan(3)
    expect([outside, complaints]).toEqual([[], []])
    await page.close()
  }, 300_000)

  it('gets a token by client id and secret, and calls an endpoint with it', async () => {
    const { page, requests, complaints } = await openPage()
    const { clientId, clientSecret } = app.bootstrap
    await page.locator('button.authorize').first().click()
    const dialog = page.locator('.dialog-ux')
    await dialog.locator('#client_id_clientCredentials').fill(clientId)
    await dialog.locator('#client_secret_clientCredentials').fill(clientSecret ?? '')
    await dialog.locator('button.authorize').first().click()
    await dialog.getByText('Logout').waitFor()
    await dialog.locator('button.btn-done').first().click()

    await page.locator('#operations-tag-Sources').click()
    const operation = page.locator('#operations-Sources-listSourcesV2025')
    await operation.locator('.opblock-summary-control').click()
    await operation.getByText('Try it out').click()
    await operation.locator('button.execute').click()
    const status = operation.locator('.live-responses-table .response-col_status').last()
    await status.waitFor()
    expect((await status.textContent())?.trim()).toMatch(/^200/)
    const shot = process.env['MUSTER_SCREENSHOT_CALL']
    if (shot !== undefined) await page.screenshot({ path: shot, fullPage: true })
    expect(requests).toContain(`${app.url}/oauth/token`)
    const outside = requests.filter((url) => !url.startsWith(`${app.url}/`) && !isInline(url))
    expect([outside, complaints]).toEqual([[], []])
    // What the page keeps must not outlive it.
    const kept = await page.evaluate('JSON.stringify([{ ...localStorage }, document.cookie])')
    expect(kept).toBe('[{},""]')
    await page.close()
  }, 300_000)

  it('has its document as JSON and as YAML, both the same', async () => {
    const json = await fetch(`${app.url}/docs/json`)
    const yaml = await fetch(`${app.url}/docs/yaml`)
    expect([json.status, yaml.status]).toEqual([200, 200])
    expect(json.headers.get('content-type')).toMatch(/^application\/json/)
    expect(yaml.headers.get('content-type')).toMatch(/yaml/)
    const document = (await json.json()) as { openapi: string; paths: Record<string, unknown> }
    expect(parse(await yaml.text())).toEqual(document)
    expect(document.openapi).toBe('3.1.0')
    expect(Object.keys(document.paths).length).toBeGreaterThan(50)
  })
})

/** What stands in the page itself is asked of nobody. */
function isInline(url: string): boolean {
  return url.startsWith('data:') || url.startsWith('blob:')
}
