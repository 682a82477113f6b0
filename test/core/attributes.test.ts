// Attributes as canonical JSON: read, written and merged without losing a digit or a key.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  mergeAttributes,
  readAttributes,
  readList,
  writeAttributes,
  writeList,
} from '../../src/core/attributes.ts'

const text = fc.string({
  unit: fc.oneof(
    fc.constantFrom('a', '"', '\\', ',', ':', '[', ']', '{', '}', '\n', '\u0001', 'é', '😀'),
    fc.string({ minLength: 1, maxLength: 1 }),
  ),
  maxLength: 8,
})
const name = fc.oneof(text, fc.constantFrom('__proto__', 'constructor', 'toString', ''))
const scalar = fc.oneof(
  text.map((value) => JSON.stringify(value)),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  fc.constantFrom('true', 'false'),
)
const texts = fc.array(text.map((value) => JSON.stringify(value)))
const integers = fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String))
const value = fc.oneof(scalar, texts.map(writeList), integers.map(writeList))
const attributes = fc.array(fc.tuple(name, value)).map((entries) => new Map(entries))

describe('attributes', () => {
  it('are read as they were written, whatever their names and values', () => {
    fc.assert(
      fc.property(attributes, (given) => {
        const json = writeAttributes(given)
        expect(new Map(readAttributes(json))).toEqual(given)
        expect(writeAttributes(readAttributes(json))).toBe(json)
        expect(() => JSON.parse(json) as unknown).not.toThrow()
      }),
    )
  })

  it('have their names in order of UTF-16 code units, and __proto__ is one of them', () => {
    const given = new Map([
      ['b', '1'],
      ['__proto__', '"p"'],
      ['a', '2'],
      ['B', '3'],
      ['é', '4'],
    ])
    expect(writeAttributes(given)).toBe('{"B":3,"__proto__":"p","a":2,"b":1,"é":4}')
    expect(readAttributes('{"__proto__":"p"}').get('__proto__')).toBe('"p"')
  })

  it('keep all digits of integers that JSON.parse would round', () => {
    const json = '{"n":9007199254740993,"ns":[-9223372036854775808,9223372036854775807]}'
    expect(writeAttributes(readAttributes(json))).toBe(json)
    expect(readList('[-9223372036854775808,9223372036854775807]')).toEqual([
      '-9223372036854775808',
      '9223372036854775807',
    ])
  })

  it('are empty in an empty object', () => {
    expect(readAttributes('{}').size).toBe(0)
    expect(writeAttributes(new Map())).toBe('{}')
    expect(readList('[]')).toEqual([])
  })
})

describe('a list', () => {
  it('has distinct values in their order: numbers by size, texts by code units', () => {
    expect(writeList(['10', '9', '10', '-1', '9007199254740993', '9007199254740992'])).toBe(
      '[-1,9,10,9007199254740992,9007199254740993]',
    )
    expect(writeList(['"b"', '"a"', '"B"', '"a"', '"\\n"', '"é"'])).toBe('["\\n","B","a","b","é"]')
  })

  it('is the same whatever the order of its values', () => {
    fc.assert(
      fc.property(fc.oneof(texts, integers), fc.func(fc.integer()), (elements, weight) => {
        const shuffled = elements.toSorted((a, b) => weight(a) - weight(b))
        expect(writeList(shuffled)).toBe(writeList(elements))
        expect(readList(writeList(elements)).toSorted()).toEqual([...new Set(elements)].toSorted())
      }),
    )
  })
})

describe('merging', () => {
  it('unites lists and keeps the first of single values, telling where they differ', () => {
    const merged = mergeAttributes(
      new Map([
        ['groups', '["a","c"]'],
        ['mail', '"x"'],
        ['same', '1'],
      ]),
      new Map([
        ['groups', '["b","c"]'],
        ['mail', '"y"'],
        ['same', '1'],
        ['new', 'true'],
      ]),
    )
    expect(Object.fromEntries(merged.attributes)).toEqual({
      groups: '["a","b","c"]',
      mail: '"x"',
      same: '1',
      new: 'true',
    })
    expect(merged.conflicts).toEqual(['mail'])
  })

  it('of an account with itself changes nothing, and of lists gives the same in either order', () => {
    const lists = fc.array(fc.tuple(name, texts.map(writeList))).map((entries) => new Map(entries))
    fc.assert(
      fc.property(attributes, lists, lists, (given, one, other) => {
        const twice = mergeAttributes(given, given)
        expect(twice.conflicts).toEqual([])
        expect(writeAttributes(twice.attributes)).toBe(writeAttributes(given))
        expect(writeAttributes(mergeAttributes(one, other).attributes)).toBe(
          writeAttributes(mergeAttributes(other, one).attributes),
        )
      }),
    )
  })
})
