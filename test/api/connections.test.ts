// Few file descriptors and thousands of idle connections: some are refused, nothing crashes, and all is well again after it.
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { generateMasterKey } from '../../src/store/sealed.ts'
import { testDatabase } from '../support/database.ts'
import { buildServer, connectTo, databaseUrl, startServer } from '../support/server-process.ts'

it.runIf(process.platform === 'linux')(
  'a server with 64 file descriptors outlives 2,000 idle connections and serves again after them',
  async () => {
    const build = await buildServer()
    const database = await testDatabase()
    const dataDir = await mkdtemp(join(tmpdir(), 'muster-connections-'))
    const server = await startServer({
      build,
      dataDir,
      env: { DATABASE_URL: databaseUrl(database.settings), MUSTER_KEY: generateMasterKey() },
    })
    const sockets: Socket[] = []
    try {
      const client = await connectTo(server.url)
      const source = await client.createSource('People')
      execFileSync('prlimit', ['--pid', String(server.pid), '--nofile=64:64'])
      const port = Number(new URL(server.url).port)
      let refused = 0
      for (let index = 0; index < 2_000; index += 1) {
        const socket = connect(port, '127.0.0.1')
        socket.on('error', () => undefined)
        socket.on('close', () => (refused += 1))
        sockets.push(socket)
        if (index % 100 === 99) await sleep(20)
      }
      await expect.poll(() => refused, { timeout: 30_000 }).toBeGreaterThan(1_000)
      expect(server.isRunning()).toBe(true)
      // With none left a call is refused or told to come again; it is never half an answer.
      const during = await client.call('GET', '/sources').then(
        async (response) => [response.status, (await response.text()).length > 0],
        () => 'refused',
      )
      expect(['refused', [200, true], [503, true]]).toContainEqual(during)

      for (const socket of sockets) socket.destroy()
      await expect
        .poll(
          () =>
            fetch(`${server.url}/health/ready`).then(
              (response) => response.status,
              () => 0,
            ),
          { timeout: 30_000 },
        )
        .toBe(200)
      const task = await client.upload(source, 'id,name\n1,a\n2,b\n')
      expect((await client.ended(task)).attributes).toMatchObject({ created: 2 })
    } finally {
      for (const socket of sockets) socket.destroy()
      await server.end('SIGTERM')
      await database.drop()
      await rm(dataDir, { recursive: true, force: true })
      await rm(build, { recursive: true, force: true })
    }
  },
  120_000,
)
