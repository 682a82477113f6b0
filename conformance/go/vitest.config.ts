// The official Go SDK against servers that the one test file starts; scripts/conformance-go.mjs has built its tests before.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: { root: import.meta.dirname, include: ['go-sdk.test.ts'] },
})
