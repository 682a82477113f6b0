// Writes rows of accounts in PostgreSQL's binary COPY format, into buffers that are handed on when they are full.

/** What kind of row is written: a first load has no position, and only records of direct sources have a state. */
export interface RowShape {
  readonly staged: boolean
  readonly stateful: boolean
}

const accountColumns = ['id', 'fingerprint', 'key_hash', 'native_identity', 'name', 'attributes']

/** The columns of a row in the order in which they are written. */
export function rowColumns({ staged, stateful }: RowShape): readonly string[] {
  return [
    ...accountColumns,
    ...(stateful ? ['stable_key', 'disabled', 'locked'] : []),
    ...(stateful && staged ? ['deleted'] : []),
    ...(staged ? ['position'] : []),
  ]
}

/** What a direct source says of an account besides its attributes. */
export interface RecordState {
  readonly disabled: boolean
  readonly locked: boolean
  /** Whether the system says that it is gone. */
  readonly deleted: boolean
}

/** PGCOPY, flags, and the length of the header extension. */
const signature = Buffer.from([
  0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0,
])

/** A whole row in parts, for rows that are not written in place. `fingerprint` null matches no row ever. */
export interface AccountRow {
  readonly id: Uint8Array
  readonly fingerprint: readonly [low: number, high: number] | null
  readonly keyHash: number
  readonly nativeIdentity: string
  readonly name: string
  readonly attributes: string
  /** Null when the native identity is the key. */
  readonly stableKey: string | null
  readonly state: RecordState
  readonly position: number
}

/**
 * The buffer that rows are written into. Plain fields: the encoder of records writes bytes in place (`bytes`, `at`),
 * which saves a copy of every cell.
 */
export class RowWriter {
  bytes: Buffer
  view: DataView
  at = 0
  rows = 0
  readonly shape: RowShape
  private readonly columns: number
  private readonly size: number
  private readonly flush: (full: Buffer, length: number) => Buffer

  /** `flush` takes a full buffer and gives the next one, of at least `size` bytes. */
  constructor(size: number, shape: RowShape, flush: (full: Buffer, length: number) => Buffer) {
    this.size = size
    this.shape = shape
    this.columns = rowColumns(shape).length
    this.flush = flush
    this.bytes = Buffer.allocUnsafe(size)
    this.view = viewOf(this.bytes)
    this.at = signature.copy(this.bytes)
  }

  /** Makes room for `length` more bytes; called between rows, so that a row never lies in two buffers. */
  reserve(length: number): void {
    if (this.at + length <= this.bytes.length) return
    if (this.at > 0) this.bytes = this.flush(this.bytes, this.at)
    this.at = 0
    if (this.bytes.length < length) this.bytes = Buffer.allocUnsafe(Math.max(length, this.size))
    this.view = viewOf(this.bytes)
  }

  /** Writes a row from its parts. */
  write(row: AccountRow): void {
    const attributes = Buffer.from(row.attributes)
    const identity = Buffer.from(row.nativeIdentity)
    const name = Buffer.from(row.name)
    const key = row.stableKey === null ? null : Buffer.from(row.stableKey)
    this.reserve(128 + attributes.length + identity.length + name.length + (key?.length ?? 0))
    this.begin()
    this.putBytes(row.id)
    this.putFingerprint(row.fingerprint)
    this.putInt32(4)
    this.putInt32(row.keyHash)
    this.putBytes(identity)
    this.putBytes(name)
    this.putBytes(attributes)
    if (this.shape.stateful) this.putState(key, row.state)
    this.end(row.position)
  }

  /** Begins a row: the number of its fields. */
  begin(): void {
    this.view.setInt16(this.at, this.columns)
    this.at += 2
  }

  /** Ends a row: its position where the table has one. */
  end(position: number): void {
    if (this.shape.staged) {
      this.putInt32(8)
      this.view.setInt32(this.at, Math.floor(position / 2 ** 32))
      this.view.setUint32(this.at + 4, position >>> 0)
      this.at += 8
    }
    this.rows += 1
  }

  /** Writes stable key and state. */
  putState(key: Uint8Array | null, state: RecordState): void {
    if (key === null) this.putInt32(-1)
    else this.putBytes(key)
    this.putBoolean(state.disabled)
    this.putBoolean(state.locked)
    if (this.shape.staged) this.putBoolean(state.deleted)
  }

  private putBoolean(value: boolean): void {
    this.putInt32(1)
    this.bytes[this.at] = value ? 1 : 0
    this.at += 1
  }

  putInt32(value: number): number {
    this.view.setInt32(this.at, value)
    this.at += 4
    return this.at
  }

  putBytes(bytes: Uint8Array): void {
    this.putInt32(bytes.length)
    const { bytes: to, at } = this
    // For texts of this length a loop is quicker than a call into native code.
    if (bytes.length > 64) to.set(bytes, at)
    else for (let index = 0; index < bytes.length; index += 1) to[at + index] = bytes[index] ?? 0
    this.at = at + bytes.length
  }

  /** Writes a part of a view, four bytes at a time. */
  putSlice(from: DataView, start: number, end: number): void {
    this.putInt32(end - start)
    const { view } = this
    let { at } = this
    let index = start
    for (; index + 4 <= end; index += 4) {
      view.setInt32(at, from.getInt32(index, true), true)
      at += 4
    }
    for (; index < end; index += 1) {
      view.setUint8(at, from.getUint8(index))
      at += 1
    }
    this.at = at
  }

  putFingerprint(fingerprint: readonly [low: number, high: number] | null): void {
    if (fingerprint === null) {
      this.putInt32(-1)
      return
    }
    this.putInt32(8)
    this.putInt32(fingerprint[1])
    this.putInt32(fingerprint[0])
  }

  /** Writes the trailer of the format and hands on the last buffer. */
  finish(): void {
    this.reserve(2)
    this.view.setInt16(this.at, -1)
    this.at += 2
    this.flush(this.bytes, this.at)
    this.at = 0
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}
