// Which ids came already, in at most 32 bytes for each: a set of texts would grow with the length of the ids.

/** A set of texts, known by 64 bits of each. */
export interface Seen {
  /** Adds a text; false when it (or, once in billions of billions of pairs, another) was there. */
  add(text: string): boolean
  has(text: string): boolean
  readonly size: number
}

/** An empty set. */
export function createSeen(): Seen {
  let slots = new Uint32Array(2 * 1024)
  let size = 0

  /** Where the text is, or the empty slot where it belongs. */
  const find = (table: Uint32Array, low: number, high: number): number => {
    const mask = table.length - 1
    for (let place = (2 * low) & mask; ; place = (place + 2) & mask) {
      const [first, second] = [table[place], table[place + 1]]
      if ((first === 0 && second === 0) || (first === low && second === high)) return place
    }
  }
  const isEmpty = (place: number): boolean => slots[place] === 0 && slots[place + 1] === 0

  const grow = (): void => {
    const larger = new Uint32Array(slots.length * 2)
    for (let place = 0; place < slots.length; place += 2) {
      const [low, high] = [slots[place] ?? 0, slots[place + 1] ?? 0]
      if (!isEmpty(place)) larger.set([low, high], find(larger, low, high))
    }
    slots = larger
  }

  return {
    add: (text) => {
      if (4 * size >= slots.length) grow()
      const [low, high] = hash(text)
      const place = find(slots, low, high)
      if (!isEmpty(place)) return false
      slots[place] = low
      slots[place + 1] = high
      size += 1
      return true
    },
    has: (text) => {
      const [low, high] = hash(text)
      return !isEmpty(find(slots, low, high))
    },
    get size() {
      return size
    },
  }
}

/** Two multiplicative hashes of 32 bits that are mixed with each other; zero and zero stands for an empty slot. */
function hash(text: string): readonly [number, number] {
  let low = 0xdeadbeef ^ text.length
  let high = 0x41c6ce57 ^ text.length
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index)
    low = Math.imul(low ^ unit, 0x9e3779b1)
    high = Math.imul(high ^ unit, 0x5f356495)
  }
  low = Math.imul(low ^ (low >>> 16), 0x85ebca6b) ^ Math.imul(high ^ (high >>> 13), 0xc2b2ae35)
  high = Math.imul(high ^ (high >>> 16), 0x85ebca6b) ^ Math.imul(low ^ (low >>> 13), 0xc2b2ae35)
  return [low >>> 0, (low === 0 ? high | 1 : high) >>> 0]
}
