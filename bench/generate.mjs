// Writes the HR file of the benchmark: 12 attributes, about 131 bytes a row, the same bytes for the same arguments.
import { createWriteStream } from 'node:fs'
import { finished } from 'node:stream/promises'

export const columns = [
  'employeeId',
  'login',
  'firstName',
  'lastName',
  'email',
  'department',
  'title',
  'location',
  'costCenter',
  'managerId',
  'startDate',
  'status',
]

const departments = ['Finance', 'Sales', 'Research', 'Operations', 'Support', 'Legal']
const titles = ['Analyst', 'Engineer', 'Clerk', 'Lead', 'Director', 'Consultant']
const locations = ['Berlin', 'Austin', 'Lyon', 'Osaka', 'Pune', 'Leeds']

/** One row; `salt` changes the title, so that a row with another salt is a changed one. */
export function row(number, salt = 0) {
  const id = String(number).padStart(8, '0')
  const year = 2000 + (number % 25)
  const month = String(1 + (number % 12)).padStart(2, '0')
  const day = String(1 + (number % 28)).padStart(2, '0')
  return (
    `E${id},user${id},First${number % 5000},Last${number % 70000},user${id}@corp.example,` +
    `${departments[number % 6]},${titles[(number + salt) % 6]}${salt === 0 ? '' : ` ${salt}`},` +
    `${locations[(number >> 3) % 6]},CC${1000 + (number % 900)},E${String(number >> 4).padStart(8, '0')},` +
    `${year}-${month}-${day},${number % 50 === 0 ? 'inactive' : 'active'}\n`
  )
}

/**
 * Writes `rows` rows to `path`. `shuffle`: in another order (a fixed permutation); `changed`: every n-th row is
 * another; `removed`: every n-th row is left out.
 */
export async function generate(path, rows, { shuffle = false, changed = 0, removed = 0 } = {}) {
  const out = createWriteStream(path, { highWaterMark: 1 << 20 })
  out.write(`${columns.join(',')}\n`)
  // A step that has no factor in common with the number of rows visits each row once.
  let step = shuffle ? 618_033 : 1
  while (gcd(step, rows) !== 1) step += 1
  let text = ''
  for (let index = 0, number = 0; index < rows; index += 1, number = (number + step) % rows) {
    if (removed > 0 && number % removed === 0) continue
    text += row(number, changed > 0 && number % changed === 0 ? 7 : 0)
    if (text.length > 1 << 20) {
      if (!out.write(text)) await new Promise((resolve) => out.once('drain', resolve))
      text = ''
    }
  }
  out.end(text)
  await finished(out)
}

function gcd(a, b) {
  return b === 0 ? a : gcd(b, a % b)
}
