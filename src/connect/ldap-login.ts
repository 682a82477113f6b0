// Opens a connection as the settings say: the socket from `outbound`, TLS, the login.
import { isIP } from 'node:net'
import { openConnection, type LdapConnection } from './ldap-connection.ts'
import type { LdapSettings } from './ldap-settings.ts'
import type { ReaderTools } from './reader.ts'
import { retry } from './retry.ts'

/** A server that is away or busy is tried so often. */
const attempts = 3

/** A connection that is logged in. Throws what `outbound` throws, `credentials_refused` and other refusals. */
export function logIn(
  settings: LdapSettings,
  tools: ReaderTools,
  signal: AbortSignal,
): Promise<LdapConnection> {
  const { log } = tools
  warnOfPlainPassword(settings, log)
  return retry(() => logInOnce(settings, tools, signal), { signal, log, attempts })
}

async function logInOnce(
  settings: LdapSettings,
  { outbound }: ReaderTools,
  signal: AbortSignal,
): Promise<LdapConnection> {
  const { host, port, encryption, ca } = settings
  const tls = ca === null ? {} : { ca }
  const socket = await outbound.connect({
    host,
    port,
    tls: encryption === 'tls' ? tls : null,
    signal,
  })
  const connection = openConnection(socket, settings.timeoutMs)
  const stop = (): void => connection.close(reasonOf(signal))
  signal.addEventListener('abort', stop, { once: true })
  try {
    if (encryption === 'starttls') {
      await connection.startTls((plain) => outbound.upgrade(plain, { host, tls, signal }))
    }
    // Active Directory shows nothing to somebody who did not log in, OpenLDAP treats both alike.
    await connection.bind(settings.bindDn, settings.bindPassword)
    return connection
  } catch (error) {
    connection.close()
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Why a signal was aborted, as an error. */
export function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('The read was ended.')
}

function warnOfPlainPassword(settings: LdapSettings, log: ReaderTools['log']): void {
  const { host, encryption, bindPassword } = settings
  const local =
    host === 'localhost' || (isIP(host) === 4 && host.startsWith('127.')) || host === '::1'
  if (encryption !== 'none' || bindPassword === '' || local) return
  log('warn', `The password of the login to ${host} goes over the network as plain text.`)
}
