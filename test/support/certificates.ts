// Makes a certificate authority and certificates by openssl, for servers that tests start on loopback.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A certificate with its key, in PEM. */
export interface Certificate {
  readonly key: string
  readonly cert: string
}

/** A certificate authority. */
export interface Authority {
  /** Its certificate in PEM. */
  readonly ca: string
  /** A certificate for names like `DNS:localhost` and `IP:127.0.0.1`; `days` below 0: it has expired. */
  issue(names: readonly string[], days?: number): Certificate
  /** Removes the keys from the disk. */
  close(): void
}

/** Makes an authority that nobody trusts by default. Needs the command `openssl`. */
export function makeAuthority(): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'muster-certificates-'))
  const file = (name: string): string => join(folder, name)
  const openssl = (...words: readonly string[]): void => {
    execFileSync('openssl', words, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  }
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const caFiles = ['-keyout', file('ca.key'), '-out', file('ca.pem')]
  openssl('req', '-x509', ...curve, ...caFiles, '-days', '2', '-subj', '/CN=Test authority')
  let issued = 0
  return {
    ca: readFileSync(file('ca.pem'), 'utf8'),
    issue: (names, days = 2) => {
      issued += 1
      const [key, request, cert] = [`${issued}.key`, `${issued}.csr`, `${issued}.pem`].map(file)
      if (key === undefined || request === undefined || cert === undefined) throw new Error()
      openssl('req', ...curve, '-keyout', key, '-out', request, '-subj', '/CN=Test server')
      writeFileSync(file('names.ext'), `subjectAltName=${names.join(',')}\n`)
      const signer = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial']
      const form = ['-extfile', file('names.ext'), '-out', cert]
      openssl('x509', '-req', '-in', request, ...signer, ...form, '-days', String(days))
      return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
