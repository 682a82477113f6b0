// The row hash against a plain implementation that is checked by the published vectors of HalfSipHash-2-4.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { halfSip, hashKey } from '../../src/core/fingerprint.ts'

/** HalfSipHash-c-d with 64 bits of output, written as its reference is, without regard to speed. */
function reference(bytes: Uint8Array, key: Uint8Array, c: number, d: number): [number, number] {
  const word = (from: Uint8Array, at: number): number =>
    ((from[at] ?? 0) |
      ((from[at + 1] ?? 0) << 8) |
      ((from[at + 2] ?? 0) << 16) |
      ((from[at + 3] ?? 0) << 24)) >>>
    0
  const k = [word(key, 0), word(key, 4)] as const
  const v = [k[0], k[1] ^ 0xee, 0x6c796765 ^ k[0], 0x74656462 ^ k[1]]
  const at = (index: number): number => (v[index] ?? 0) >>> 0
  const rotate = (index: number, by: number): void => {
    v[index] = ((at(index) << by) | (at(index) >>> (32 - by))) >>> 0
  }
  const add = (to: number, from: number): void => {
    v[to] = (at(to) + at(from)) >>> 0
  }
  const xor = (to: number, value: number): void => {
    v[to] = (at(to) ^ value) >>> 0
  }
  const round = (): void => {
    add(0, 1)
    rotate(1, 5)
    xor(1, at(0))
    rotate(0, 16)
    add(2, 3)
    rotate(3, 8)
    xor(3, at(2))
    add(0, 3)
    rotate(3, 7)
    xor(3, at(0))
    add(2, 1)
    rotate(1, 13)
    xor(1, at(2))
    rotate(2, 16)
  }
  const whole = bytes.length - (bytes.length % 4)
  const words: number[] = []
  for (let index = 0; index < whole; index += 4) words.push(word(bytes, index))
  const tail = new Uint8Array(4)
  tail.set(bytes.subarray(whole))
  tail[3] = bytes.length & 0xff
  words.push(word(tail, 0))
  for (const one of words) {
    xor(3, one)
    for (let count = 0; count < c; count += 1) round()
    xor(0, one)
  }
  xor(2, 0xee)
  for (let count = 0; count < d; count += 1) round()
  const low = (at(1) ^ at(3)) | 0
  xor(1, 0xdd)
  for (let count = 0; count < d; count += 1) round()
  return [low, (at(1) ^ at(3)) | 0]
}

function ours(bytes: Uint8Array, offset: number, length: number, key: Uint8Array) {
  const out = new Int32Array(2)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  halfSip(view, offset, length, hashKey(key), out)
  return [out[0], out[1]]
}

describe('the row hash', () => {
  it('is compared with an implementation that gives the published vectors of HalfSipHash-2-4', () => {
    const key = Uint8Array.from({ length: 8 }, (_, index) => index)
    const hex = (bytes: readonly number[]): string => {
      const [low, high] = reference(Uint8Array.from(bytes), key, 2, 4)
      const out = Buffer.alloc(8)
      out.writeInt32LE(low)
      out.writeInt32LE(high, 4)
      return out.toString('hex')
    }
    expect(hex([])).toBe('218d1f59b9b83cc8')
    expect(hex([0])).toBe('be552412f8387315')
  })

  it('is HalfSipHash-1-3 of the bytes, wherever in a buffer they lie', () => {
    const bytes = fc.uint8Array({ maxLength: 300 })
    const key = fc.uint8Array({ minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(bytes, key, fc.nat({ max: 9 }), (given, secret, before) => {
        const buffer = new Uint8Array(before + given.length + 3).fill(0xa5)
        buffer.set(given, before)
        const expected = reference(given, secret, 1, 3)
        expect(ours(buffer, before, given.length, secret)).toEqual(expected)
      }),
    )
  })

  it('changes with every byte, with the length and with the key', () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 64 })
    const key = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)
    fc.assert(
      fc.property(bytes, fc.nat(), (given, place) => {
        const before = ours(given, 0, given.length, key)
        const other = Uint8Array.from(given)
        const index = place % given.length
        other[index] = (other[index] ?? 0) ^ 1
        expect(ours(other, 0, other.length, key)).not.toEqual(before)
        expect(ours(given, 0, given.length - 1, key)).not.toEqual(before)
        const otherKey = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 9)
        expect(ours(given, 0, given.length, otherKey)).not.toEqual(before)
      }),
    )
  })
})
