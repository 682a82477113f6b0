// test-configuration: would an aggregation of this source work? Looks at schema and settings first, then asks the system.
import type { FastifyReply } from 'fastify'
import { RunError } from '../core/errors.ts'
import type { Schema } from '../core/schema.ts'
import { readDialect } from '../core/dialect.ts'
import type { Source } from '../core/source.ts'
import type { AskSource } from './ask-source.ts'
import { label } from './part-header.ts'

/** A sample of this size shows whether identities come at all; that they are unique is for the run to see. */
const sampleSize = 10

/** What was found to be right, for people; throws `RunError` for the first thing that is wrong. */
export async function testConfiguration(
  ask: AskSource,
  source: Source,
  schemas: readonly Schema[],
  reply: FastifyReply,
): Promise<Readonly<Record<string, unknown>>> {
  const account = accountSchema(schemas)
  const schema = {
    identityAttribute: account.identityAttribute,
    attributes: account.attributes.length,
  }
  if (source.connectionType === 'file') {
    readDialect(source.connectorAttributes)
    return { schema, reason: 'The source is loaded from files: settings and schema fit together.' }
  }
  const { facts } = await ask.check(source, reply)
  const sample = await ask.peek(source, account, sampleSize, reply)
  const { records, attributes } = sample
  if (records.some(({ identity }) => identity === '')) {
    throw new RunError(
      'no_identity_column',
      `The system delivers records without the identity attribute "${label(account.identityAttribute ?? '')}".`,
      {
        hint: 'Set identityAttribute of the account schema to an attribute that every account has.',
      },
    )
  }
  const withoutValue = attributes.filter((_, index) =>
    records.every((record) => isEmpty(record.values[index])),
  )
  return {
    connection: facts,
    schema,
    sample: {
      records: records.length,
      // No error: a system may just have none of them. But a name that is misspelt shows here.
      ...(records.length === 0 ? {} : { attributesWithoutValue: withoutValue }),
    },
    ...(records.length === 0 ? { warning: 'The system delivers no accounts at present.' } : {}),
  }
}

function accountSchema(schemas: readonly Schema[]): Schema {
  const account = schemas.find(({ name }) => name === 'account')
  if (account === undefined) {
    throw new RunError('no_schema', 'The source has no schema named "account".', {
      hint: 'Create the account schema of the source; discovery proposes one.',
    })
  }
  const { identityAttribute, attributes } = account
  if (identityAttribute === null || !attributes.some(({ name }) => name === identityAttribute)) {
    throw new RunError('no_identity', 'The account schema names no identity attribute.', {
      hint: 'Set identityAttribute of the account schema to the attribute that identifies an account.',
    })
  }
  return account
}

function isEmpty(value: string | readonly string[] | null | undefined): boolean {
  return value === null || value === undefined || value.length === 0
}
