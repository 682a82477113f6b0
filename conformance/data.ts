// The files that the conformance tests upload, and names that no two tests share.
import { randomBytes } from 'node:crypto'

/** A name that is new in every run, so that tests do not meet each other's sources. */
export function freshName(word: string): string {
  return `${word} ${randomBytes(6).toString('hex')}`
}

/** The header of the account schema that a new delimited source gets. */
export const header =
  'id,name,givenName,familyName,e-mail,location,manager,groups,startDate,endDate'

/** A file of `count` accounts in that schema; `first` is the number of the first. */
export function accountsCsv(count: number, first = 1): string {
  const rows = Array.from({ length: count }, (_, index) => {
    const id = String(first + index).padStart(4, '0')
    return `${id},user-${id},Given ${id},Family ${id},user-${id}@example.com,Site ${(first + index) % 3},,staff,2024-01-15,`
  })
  return `${[header, ...rows].join('\n')}\n`
}

/** The same as a `File`, the way the official TypeScript SDK is given one. */
export function csvFile(text: string, name = 'accounts.csv'): File {
  return new File([text], name, { type: 'text/csv' })
}
