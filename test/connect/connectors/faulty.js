// A connector that does what it should not: `config.fault` says which.
const { createConnector, readConfig } = require('@sailpoint/connector-sdk')
const childProcess = require('node:child_process')
const fs = require('node:fs')
const { Worker } = require('node:worker_threads')

const record = (number, more = {}) => ({
  key: { simple: { id: `user-${number}` } },
  attributes: { id: `user-${number}`, name: `User ${number}`, ...more },
})

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** What came of something that must be refused. */
const outcome = (work) => {
  try {
    return `done ${String(work()).slice(0, 100)}`
  } catch (error) {
    return error.code ?? error.message
  }
}

const faults = {
  'throws at once': () => {
    throw new Error('the system said no to hunter2-secret\nwith a second line')
  },
  'throws within': async (res) => {
    for (let number = 1; number <= 50; number += 1) res.send(record(number))
    await pause(20)
    throw new Error('the connection to the system broke')
  },
  'rejects later': async (res) => {
    res.send(record(1))
    void Promise.reject(new Error('nobody waited for this'))
    await pause(50)
    res.send(record(2))
  },
  'exits within': async (res) => {
    for (let number = 1; number <= 50; number += 1) res.send(record(number))
    await pause(50)
    process.exit(0)
  },
  'exits 137': async (res) => {
    res.send(record(1))
    await pause(20)
    process.exit(137)
  },
  'kills itself': async (res) => {
    res.send(record(1))
    await pause(20)
    process.abort()
  },
  hangs: async (res) => {
    res.send(record(1))
    await new Promise((resolve) => setTimeout(resolve, 600_000))
  },
  'waits for nothing': async (res) => {
    res.send(record(1))
    await new Promise(() => {})
  },
  loops: (res) => {
    res.send(record(1))
    for (;;);
  },
  prints: async (res) => {
    process.stdout.write(
      '{"data":{"key":{"simple":{"id":"ghost"}},"attributes":{}},"type":"output"}\n',
    )
    console.error('{"type":"muster:end","data":{}}')
    res.send(record(1))
  },
  'prints without end': (res) => {
    res.send(record(1))
    for (;;) process.stdout.write('x'.repeat(65_536))
  },
  'sends without end': (res) => {
    for (let number = 1; ; number += 1) res.send(record(number))
  },
  'sends a long line': async (res) => {
    res.send(record(1, { name: 'x'.repeat(2 << 20) }))
  },
  'eats memory': async () => {
    const kept = []
    for (;;) {
      kept.push(Buffer.alloc(8 << 20, 1))
      await pause(1)
    }
  },
  'fills the heap': () => {
    const kept = []
    for (let number = 0; ; number += 1) kept.push({ number, list: [number, `${number}`] })
  },
  'state, then error': async (res) => {
    res.send(record(1))
    res.saveState({ since: 7 })
    await pause(20)
    throw new Error('after the state')
  },
  'state that is none': async (res) => {
    res.send(record(1))
    res.saveState('yesterday')
  },
  'forgets to await': async (res) => {
    res.send(record(1))
    void pause(300).then(() => res.send(record(2)))
  },
  'marks incomplete': async (res) => {
    res.send({ ...record(1), incomplete: true })
  },
  'sends no id': async (res) => {
    res.send({ attributes: { name: 'User 1' } })
  },
  'patches a prototype': async (res) => {
    res.send(record(1))
    res.patchConfig([{ op: 'add', path: '/__proto__/polluted', value: true }])
  },
  nothing: async () => {},
  'looks around': async (res) => {
    const { keyFile } = await readConfig()
    res.send(
      record(1, {
        environment: Object.keys(process.env).toSorted().join(' '),
        keyFile: outcome(() => fs.readFileSync(keyFile, 'utf8')),
        passwd: outcome(() => fs.readFileSync('/etc/passwd', 'utf8')),
        parent: outcome(() => fs.readFileSync(`/proc/${process.ppid}/environ`, 'utf8')),
        write: outcome(() => fs.writeFileSync('left-behind.txt', 'x')),
        fork: outcome(() => childProcess.spawnSync('/bin/sh', ['-c', 'echo hello'])),
        worker: outcome(() => new Worker('1', { eval: true })),
        signal: outcome(() => process.kill(process.ppid, 0)),
        user: String(process.getuid?.()),
        arguments: process.argv.join(' '),
      }),
    )
  },
}

exports.connector = async () =>
  createConnector().stdAccountList(async (_, __, res) => {
    const { fault } = await readConfig()
    await faults[fault](res)
  })
