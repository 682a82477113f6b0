// HTTP as bytes: for requests that no HTTP library would send.
import { connect } from 'node:net'

export interface RawAnswer {
  readonly text: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Sends bytes and gives all that comes back until the server ends the connection or `quietMs` pass without a byte. */
export function sendRaw(port: number, bytes: string, quietMs = 500): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    const finish = (): void => {
      socket.destroy()
      resolve(parse(text))
    }
    socket.setTimeout(quietMs, finish)
    socket.on('error', reject)
    socket.on('end', finish)
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    socket.write(bytes, 'latin1')
  })
}

/** Splits an answer into its parts. */
export function parse(text: string): RawAnswer {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  return { text, status: Number(first.split(' ')[1]), headers, body: rest.join('\r\n\r\n') }
}
