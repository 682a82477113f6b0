// Starts Muster for the benchmark with the settings of its environment, and says where it listens.
import { createApp } from '../dist/app.js'
import { readConfig } from '../dist/config.js'

const app = await createApp(readConfig(process.env))
process.send?.({ url: app.url })
process.on('message', (message) => {
  if (message === 'stop') void app.close().then(() => process.exit(0))
})
process.on('disconnect', () => void app.close().then(() => process.exit(0)))
