// A Muster that its parent can kill or hold at any step of an upload and its run. Arguments: the folder of compiled code.
// The parent speaks over IPC: `{ at: { step, count, act } }` arms a step, `{ go: true }` lets a held one go on.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const dist = process.argv[2] ?? ''
const { createApp } = await import(pathToFileURL(join(dist, 'app.js')).href)
const { readConfig } = await import(pathToFileURL(join(dist, 'config.js')).href)

// A run that is resumed begins before the parent could say anything.
const { HOLD_AT } = process.env
let armed = HOLD_AT === undefined ? null : { step: HOLD_AT, act: 'hold', count: 1 }
let letGo = () => undefined

async function onStep(step) {
  if (armed === null || armed.step !== step) return
  armed.count -= 1
  if (armed.count > 0) return
  const { act } = armed
  armed = null
  if (act === 'kill') {
    process.kill(process.pid, 'SIGKILL')
    await new Promise(() => undefined)
  }
  const gone = new Promise((resolve) => (letGo = resolve))
  process.send({ held: step })
  await gone
}

process.on('message', (message) => {
  if (message.at !== undefined) armed = message.at
  if (message.go === true) letGo()
})
// Without its parent nobody would ever end it.
process.on('disconnect', () => process.exit(1))

let stopping = 0
let app = null
for (const [signal, code] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
]) {
  process.on(signal, () => {
    stopping += 1
    if (stopping > 1) process.exit(code)
    void Promise.resolve(app?.close()).then(() => process.exit(0))
  })
}

try {
  app = await createApp(readConfig(process.env), { onStep })
  process.send({ url: app.url })
} catch (error) {
  process.send({ failed: `${error.message} ${error.hint ?? ''}` })
  process.exitCode = 1
  process.disconnect()
}
