// The two files of the demo: a made-up company of numbered users, the same in every run.

/** The columns, in the shape of an account schema. */
export const columns = [
  { name: 'employeeId', type: 'STRING', description: 'The personnel number.' },
  { name: 'userName', type: 'STRING', description: 'The login name.' },
  { name: 'displayName', type: 'STRING', description: 'The name for people.' },
  { name: 'email', type: 'STRING', description: 'The mail address.' },
  { name: 'department', type: 'STRING', description: 'The department.' },
  { name: 'title', type: 'STRING', description: 'The job.' },
  { name: 'location', type: 'STRING', description: 'The place of work.' },
  { name: 'managerId', type: 'STRING', description: 'The personnel number of the manager.' },
  { name: 'costCenter', type: 'INT', description: 'The cost center.' },
  { name: 'grade', type: 'INT', description: 'The grade of the job.' },
  { name: 'hireDate', type: 'DATE', description: 'The first day of work.' },
  { name: 'active', type: 'BOOLEAN', description: 'Whether the person works here now.' },
]

const departments = [
  'Sales',
  'Finance',
  'Engineering',
  'Support',
  'Legal',
  'Operations',
  'Research',
]
const titles = ['Analyst', 'Engineer', 'Specialist', 'Consultant', 'Lead', 'Manager']
const locations = ['Berlin', 'Austin', 'Toronto', 'Singapore', 'Lyon', 'Remote, "home office"']

/** The first file: everybody is new. */
export function firstFile(count) {
  return csv(people(1, count))
}

/**
 * The second file, a day later: some are new, some moved, some left, and some rows are wrong. `expected` says how many
 * of each there are.
 */
export function secondFile(count) {
  const rows = people(1, count)
  const gone = new Set(every(rows, 1_000, 77))
  const moved = every(rows, 250, 42)
  for (const row of moved) {
    row.department = row.department === 'Research' ? 'Engineering' : 'Research'
    row.grade += 1
  }
  const promoted = every(rows, 1_000, 500)
  for (const row of promoted) row.title = 'Director'
  const joined = people(count + 1, Math.round(count / 500))

  const kept = rows.filter((row) => !gone.has(row))
  const wrong = spoil(kept)
  return {
    text: csv([...kept, ...joined, ...wrong]),
    expected: {
      created: joined.length,
      updated: moved.length + promoted.length,
      removed: gone.size,
      rejected: 4,
    },
  }
}

// What people do to files by hand: a word in a number, a day that does not exist, a row pasted twice.
function spoil(rows) {
  const at = (part) => rows[Math.floor(rows.length * part)]
  at(0.2).costCenter = 'n/a'
  at(0.4).hireDate = '2023-02-30'
  at(0.6).active = 'maybe'
  return [{ ...at(0.8), title: 'Pasted twice' }]
}

function every(rows, step, from) {
  return rows.filter((_, index) => index % step === from % step)
}

function people(first, count) {
  return Array.from({ length: count }, (_, index) => person(first + index))
}

// A few multiplications by primes spread the values, so that neighbours differ and every run makes the same file.
function person(number) {
  const id = String(number).padStart(6, '0')
  const pick = (list, factor) => list[(number * factor) % list.length]
  const year = 2005 + ((number * 7) % 20)
  const month = String(1 + ((number * 5) % 12)).padStart(2, '0')
  const day = String(1 + ((number * 11) % 28)).padStart(2, '0')
  return {
    employeeId: id,
    userName: `user.${id}`,
    displayName: `User ${id}`,
    email: `user.${id}@example.com`,
    department: pick(departments, 3),
    title: pick(titles, 5),
    location: pick(locations, 7),
    managerId: number <= 10 ? '' : String(Math.floor(number / 10)).padStart(6, '0'),
    costCenter: 1_000 + ((number * 13) % 400),
    grade: 1 + ((number * 3) % 12),
    hireDate: `${year}-${month}-${day}`,
    active: number % 50 === 0 ? 'false' : 'true',
  }
}

function csv(rows) {
  const names = columns.map((column) => column.name)
  const lines = rows.map((row) => names.map((name) => cell(String(row[name]))).join(','))
  return `${names.join(',')}\n${lines.join('\n')}\n`
}

function cell(text) {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
