// What talking to systems needs of the process, for tests: loopback is open, and the chaos connector is installed.
import { tmpdir } from 'node:os'
import type { SystemServices } from '../../src/run/ask-system.ts'
import { generateMasterKey, parseMasterKey } from '../../src/store/sealed.ts'

const modelModule = new URL('./model-connector.mjs', import.meta.url).href
/** The module of the chaos connector. */
export const chaosModule = new URL('../connect/chaos-connector.mjs', import.meta.url).href

const masterKey = parseMasterKey(generateMasterKey())

/** Services with one key for the whole test file. */
export function testSystem(given: Partial<SystemServices> = {}): SystemServices {
  return {
    masterKey,
    outbound: { allowLoopback: true, allowed: [] },
    packages: [chaosModule, modelModule],
    bundleRoot: tmpdir(),
    maxReadBytes: 2 ** 32,
    log: () => undefined,
    ...given,
  }
}
