// The conformance suite: real clients and the requests that they send, against one server started as a user starts it.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    root: import.meta.dirname,
    include: ['**/*.test.ts'],
    // The official Go SDK needs Go: npm run conformance:go.
    exclude: ['go/**', '**/node_modules/**'],
    globalSetup: ['server.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
})
