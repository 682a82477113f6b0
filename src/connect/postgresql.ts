// The connector of PostgreSQL databases.
import { postgresqlKind } from '../core/sql-kind.ts'
import { postgresqlDialect } from './postgresql-dialect.ts'
import { openPostgresql } from './postgresql-session.ts'
import type { Connector } from './reader.ts'
import { sqlReader } from './sql-reader.ts'
import { readSqlSettings } from './sql-settings.ts'

/** Reads accounts by one query, in one read-only snapshot. */
export const postgresqlConnector: Connector = {
  ...postgresqlKind,
  open: async (given, tools) => {
    const settings = readSqlSettings(given, {
      schemes: ['postgres:', 'postgresql:'],
      defaultPort: 5432,
      example: 'postgres://reader@db.example.com:5432/hr',
    })
    return sqlReader(settings, {
      dialect: postgresqlDialect,
      open: (signal) => openPostgresql(settings, tools, signal),
    })
  },
}
