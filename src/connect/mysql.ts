// The connector of MySQL and MariaDB databases.
import { mysqlKind } from '../core/sql-kind.ts'
import { mysqlDialect } from './mysql-dialect.ts'
import { openMysql } from './mysql-session.ts'
import type { Connector } from './reader.ts'
import { sqlReader } from './sql-reader.ts'
import { readSqlSettings } from './sql-settings.ts'

/** Reads accounts by one query, in one read-only snapshot. */
export const mysqlConnector: Connector = {
  ...mysqlKind,
  open: async (given, tools) => {
    const settings = readSqlSettings(given, {
      schemes: ['mysql:', 'mariadb:'],
      defaultPort: 3306,
      example: 'mysql://reader@db.example.com:3306/hr',
    })
    return sqlReader(settings, {
      dialect: mysqlDialect,
      open: (signal) => openMysql(settings, tools, signal),
    })
  },
}
