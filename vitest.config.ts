// How the tests run: against one shared PostgreSQL, in as many processes as there are cores here.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // What needs installed servers has its own word: npm run test:services.
    exclude: ['test/services/**'],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    // The machines have two cores, and the server wants its share of them.
    maxWorkers: 2,
  },
})
