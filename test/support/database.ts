// A fresh database for each integration test, on the one server that the whole run shares.
import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { type ConnectionSettings, type Database, openDatabase } from '../../src/store/database.ts'
import { migrate } from '../../src/store/migrate.ts'

/** A database of its own; `drop` closes its pool and removes it, whoever is still connected. */
export interface TestDatabase {
  readonly db: Database
  readonly settings: ConnectionSettings
  drop(): Promise<void>
}

/** Gives a new database with Muster's schema. */
export async function testDatabase(): Promise<TestDatabase> {
  const test = await emptyDatabase()
  try {
    await migrate(test.db)
    return test
  } catch (error) {
    await test.drop()
    throw error
  }
}

/** Gives a new database without any table. */
export async function emptyDatabase(): Promise<TestDatabase> {
  const server = inject('database')
  const name = `test_${randomBytes(8).toString('hex')}`
  await onServer(server, `create database ${name} template template0 encoding 'UTF8'`)
  const settings = withDatabase(server, name)
  // A test that kills connections or the server sees that in its own statements.
  const db = openDatabase(settings, () => undefined)
  let dropped: Promise<void> | undefined
  const drop = async (): Promise<void> => {
    await db.close()
    await onServer(server, `drop database if exists ${name} with (force)`)
  }
  return { db, settings, drop: () => (dropped ??= drop()) }
}

function withDatabase(server: ConnectionSettings, name: string): ConnectionSettings {
  if (server.connectionString === undefined) return { ...server, database: name }
  const url = new URL(server.connectionString)
  url.pathname = `/${name}`
  return { connectionString: url.href }
}

async function onServer(server: ConnectionSettings, statement: string): Promise<void> {
  const db = openDatabase(server, () => undefined, 1)
  try {
    await db.query(statement)
  } finally {
    await db.close()
  }
}
