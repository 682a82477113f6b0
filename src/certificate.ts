// The certificate of the server: checked at the start, and taken anew when its files change while the server runs.
import { X509Certificate, createPrivateKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import type { SecureContextOptions } from 'node:tls'
import { ConfigError } from './config.ts'

/** Where certificate and key lie, both in PEM. */
export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}

/** The part of an HTTPS server that is told of a new certificate. */
interface SecureServer {
  setSecureContext(options: SecureContextOptions): void
}

interface RenewalLog {
  info(fields: object, message: string): void
  warn(message: string): void
}

// Tools that renew write two files one after the other, or swap a link; looking at the content once a minute meets all
// of them, where a watch of the file system misses network disks and swapped links.
const lookEveryMs = 60_000

/** Reads and checks both files. Throws a ConfigError that names the variable for what no client could use. */
export function readCertificate(files: CertificateFiles): SecureContextOptions {
  const cert = content('MUSTER_TLS_CERT', files.certFile)
  const key = content('MUSTER_TLS_KEY', files.keyFile)
  const certificate = parseCertificate(cert)
  if (!certificate.checkPrivateKey(parseKey(key))) {
    throw new ConfigError(
      'MUSTER_TLS_KEY is not the key of the first certificate in MUSTER_TLS_CERT.',
      'Name the two files that were made together; in the file of the certificate the one of this server comes first.',
    )
  }
  refuseWrongTime(certificate)
  const options: SecureContextOptions = { cert, key, minVersion: 'TLSv1.2' }
  try {
    createSecureContext(options)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError(
      `The certificate in MUSTER_TLS_CERT cannot be used: ${reason}.`,
      'Get one with a key of at least 2048 bits (RSA) or 256 bits (EC), and its whole chain in PEM.',
      error,
    )
  }
  return options
}

/**
 * Looks at the files once a minute and gives the server what has changed there; connections that are open keep what
 * they have. What cannot be used is told once and the old certificate stays. Returns what ends it.
 */
export function renewCertificate(
  server: SecureServer,
  files: CertificateFiles,
  log: RenewalLog,
  everyMs = lookEveryMs,
): () => void {
  let known = fingerprint(files)
  const timer = setInterval(() => {
    const found = fingerprint(files)
    if (found === known) return
    known = found
    try {
      const options = readCertificate(files)
      server.setSecureContext(options)
      log.info({ expires: new X509Certificate(String(options.cert)).validTo }, 'new certificate')
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      log.warn(`The certificate changed and is not taken, the old one stays. ${reason}`)
    }
  }, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}

function fingerprint({ certFile, keyFile }: CertificateFiles): string {
  try {
    return `${readFileSync(certFile, 'latin1')}\n${readFileSync(keyFile, 'latin1')}`
  } catch {
    // Between the removal of the old files and the arrival of the new ones.
    return ''
  }
}

function content(variable: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ConfigError(
      `${variable} cannot be read: ${reason}.`,
      'Name a PEM file that the user who starts Muster may read.',
      error,
    )
  }
}

function parseCertificate(text: string): X509Certificate {
  try {
    return new X509Certificate(text)
  } catch (error) {
    throw new ConfigError(
      'MUSTER_TLS_CERT names a file that holds no certificate in PEM.',
      'The file begins with "-----BEGIN CERTIFICATE-----": first the certificate of this server, then those of its issuers.',
      error,
    )
  }
}

function parseKey(text: string): KeyObject {
  try {
    return createPrivateKey(text)
  } catch (error) {
    const sealed = /\bENCRYPTED\b/.test(text)
    throw new ConfigError(
      sealed
        ? 'MUSTER_TLS_KEY names a key that is protected by a passphrase.'
        : 'MUSTER_TLS_KEY names a file that holds no private key in PEM.',
      sealed
        ? 'Write it without one, readable by the user of Muster only: openssl pkey -in old.key -out new.key'
        : 'The file begins with "-----BEGIN PRIVATE KEY-----" or "-----BEGIN RSA PRIVATE KEY-----" or the like.',
      error,
    )
  }
}

function refuseWrongTime(certificate: X509Certificate): void {
  const now = Date.now()
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)]
  if (to <= now) {
    throw new ConfigError(
      `The certificate in MUSTER_TLS_CERT expired on ${certificate.validTo}.`,
      'Renew it. A server that runs takes the new files within a minute.',
    )
  }
  if (from > now) {
    throw new ConfigError(
      `The certificate in MUSTER_TLS_CERT is not good before ${certificate.validFrom}.`,
      'Look at the clock of this machine, or wait until then.',
    )
  }
}
