// The wire model of personal access tokens, and what a client may say of one (contract.md section 2.13).
import { Type } from 'typebox'
import type { Static } from 'typebox'
import { tokenSecondsRange } from '../core/personal-token.ts'
import type { Client } from '../store/clients.ts'
import { Instant, nullable, Reference } from './shapes.ts'

const name = Type.String({ minLength: 1, maxLength: 128 })
const Scopes = Type.Array(Type.String({ pattern: '^[a-zA-Z0-9:_-]{1,100}$' }), {
  minItems: 1,
  maxItems: 100,
})

/** The body that makes a token. */
export const NewToken = Type.Object({
  name,
  scope: Type.Optional(
    Type.Union([Scopes, Type.Null()], { description: 'Absent or null means sp:scopes:all.' }),
  ),
  accessTokenValiditySeconds: Type.Optional(
    Type.Union(
      [
        Type.Integer({ minimum: tokenSecondsRange.least, maximum: tokenSecondsRange.most }),
        Type.Null(),
      ],
      { description: 'How long its access tokens are good; absent or null means 43200.' },
    ),
  ),
  expirationDate: Type.Optional(nullable(Type.String({ maxLength: 40 }))),
  userAwareTokenNeverExpires: Type.Optional(nullable(Type.Boolean())),
})
export type NewToken = Static<typeof NewToken>

/** What a patch may have made of the fields that can be changed. */
export const ChangedToken = Type.Object({
  name,
  scope: Type.Union([Scopes, Type.Null()]),
  expirationDate: Type.Optional(nullable(Type.String({ maxLength: 40 }))),
  userAwareTokenNeverExpires: Type.Optional(nullable(Type.Boolean())),
})

/** The fields that a patch may change. */
export const changeable: readonly string[] = Object.keys(ChangedToken.properties)

export const TokenModel = Type.Object({
  id: Type.String({ description: 'The client_id.' }),
  name: Type.String(),
  scope: Type.Array(Type.String()),
  owner: Reference,
  created: Instant,
  lastUsed: nullable(Instant),
  managed: Type.Boolean(),
  accessTokenValiditySeconds: Type.Integer(),
  expirationDate: nullable(Instant),
  userAwareTokenNeverExpires: Type.Boolean(),
})
export type TokenModel = Static<typeof TokenModel>

export const TokenWithSecret = Type.Object({
  id: Type.String({ description: 'The client_id.' }),
  secret: Type.String({ description: 'The client_secret. It is shown now and never again.' }),
  scope: Type.Array(Type.String()),
  name: Type.String(),
  owner: Reference,
  created: Instant,
  accessTokenValiditySeconds: Type.Integer(),
  expirationDate: nullable(Instant),
})
export type TokenWithSecret = Static<typeof TokenWithSecret>

/** A token as clients read it. */
export function tokenModel(client: Client): TokenModel {
  return {
    id: client.id,
    name: client.name,
    scope: [...client.scopes],
    owner: { type: 'IDENTITY', id: client.identityId, name: client.identityName },
    created: client.created,
    lastUsed: client.lastUsed,
    managed: false,
    accessTokenValiditySeconds: client.tokenSeconds,
    expirationDate: client.expires,
    userAwareTokenNeverExpires: client.mayNeverExpire,
  }
}

/** A token as its maker sees it once. */
export function tokenWithSecret(client: Client, secret: string): TokenWithSecret {
  const { id, scope, name: called, owner, created } = tokenModel(client)
  const { tokenSeconds: accessTokenValiditySeconds, expires: expirationDate } = client
  return {
    id,
    secret,
    scope,
    name: called,
    owner,
    created,
    accessTokenValiditySeconds,
    expirationDate,
  }
}
