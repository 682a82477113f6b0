import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { describe, expect, it } from 'vitest'
import { start } from '../server.ts'

/** How one test of the Go program ended. */
interface Outcome {
  readonly name: string
  readonly action: string
  readonly output: string
}

/** What `go test -json` writes, a line for each. */
interface GoEvent {
  readonly Action: string
  readonly Test?: string
  readonly Output?: string
}

// Two servers: one without a limit for everything, one with the limit of ISC for the test that runs into it.
async function runGoTests(): Promise<{ outcomes: Outcome[]; printed: string }> {
  const open = await start()
  const limited = await start({ MUSTER_RATE_LIMIT: '100' })
  try {
    return await goTest({
      SAIL_BASE_URL: open.target.url,
      SAIL_CLIENT_ID: open.target.clientId,
      SAIL_CLIENT_SECRET: open.target.clientSecret,
      MUSTER_LIMITED_URL: limited.target.url,
    })
  } finally {
    await Promise.all([open.close(), limited.close()])
  }
}

async function goTest(
  settings: Record<string, string>,
): Promise<{ outcomes: Outcome[]; printed: string }> {
  const go = spawn(
    process.env['MUSTER_GO'] ?? 'go',
    ['test', '-json', '-count=1', '-vet=off', '-timeout=5m', '.'],
    {
      cwd: import.meta.dirname,
      env: { ...process.env, ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  const ended = once(go, 'close')
  let printed = ''
  go.stderr.setEncoding('utf8').on('data', (text: string) => (printed += text))
  const outputs = new Map<string, string>()
  const outcomes: Outcome[] = []
  for await (const line of createInterface(go.stdout)) {
    const { Action: action, Test: name = '', Output: output = '' } = JSON.parse(line) as GoEvent
    if (name === '') printed += output
    else if (action === 'output') outputs.set(name, (outputs.get(name) ?? '') + output)
    else if (['pass', 'fail', 'skip'].includes(action)) {
      outcomes.push({ name: sentence(name), action, output: outputs.get(name) ?? '' })
    }
  }
  await ended
  return { outcomes, printed }
}

/** `TestAFileIsRead/with_a_header` → `a file is read: with a header`. */
function sentence(name: string): string {
  const [test = '', ...parts] = name.replace(/^Test/, '').split('/')
  const words = test.replaceAll(/([a-z0-9])(?=[A-Z])|(A)(?=[A-Z][a-z])/g, '$1$2 ').toLowerCase()
  return [words, ...parts.map((part) => part.replaceAll('_', ' '))].join(': ')
}

const { outcomes, printed } = await runGoTests()
// A test with parts is told by its parts.
const leaves = outcomes.filter(({ name }) => !outcomes.some((o) => o.name.startsWith(`${name}: `)))

describe('the official Go SDK', () => {
  it('was built and ran to its end', () => {
    expect(outcomes.length, printed).toBeGreaterThan(25)
  })

  it.each(leaves.map((outcome) => [outcome.name, outcome] as const))('%s', (_, outcome) => {
    expect(outcome.action, outcome.output).toBe('pass')
  })
})
