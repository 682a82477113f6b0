import { describe, expect, it } from 'vitest'
import { parseSorters, unknownSorter } from '../../src/core/sorter.ts'

describe('sorters', () => {
  it('are a comma list, descending with a leading dash', () => {
    expect(parseSorters('type,-created, name')).toEqual([
      { field: 'type', descending: false },
      { field: 'created', descending: true },
      { field: 'name', descending: false },
    ])
  })

  it.each(['', ',', 'name,', '-', 'name,,id', 'name,-name', 'a,b,c,d,e,f,g,h,i,j,k'])(
    'refuse %j',
    (text) => {
      expect(() => parseSorters(text)).toThrow(expect.objectContaining({ code: 'bad_request' }))
    },
  )

  it('name what a list can be sorted by', () => {
    expect(unknownSorter('x'.repeat(100), ['id', 'name'])).toMatchObject({
      status: 400,
      hint: 'Sort by id, name.',
    })
  })
})
