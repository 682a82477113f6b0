// Shapes that the documents of several resources share.
import { Type } from 'typebox'
import type { TSchema, TUnion, TNull } from 'typebox'

/** A value or null. */
export function nullable<T extends TSchema>(schema: T): TUnion<[T, TNull]> {
  return Type.Union([schema, Type.Null()])
}

/** A reference to another object, as it is shown. */
export const Reference = Type.Object({
  type: Type.String(),
  id: Type.String(),
  name: nullable(Type.String()),
})

/** A reference as a client may give it: what is kept for it is whatever it says. */
export const GivenReference = Type.Object({
  type: Type.Optional(nullable(Type.String({ maxLength: 128 }))),
  id: Type.Optional(nullable(Type.String({ maxLength: 256 }))),
  name: Type.Optional(nullable(Type.String({ maxLength: 256 }))),
})

/** The task that works off a removal. */
export const TaskResult = Type.Object({
  type: Type.Literal('TASK_RESULT'),
  id: Type.String(),
  name: Type.Null(),
})

export const Instant = Type.String({ format: 'date-time' })

/** A JSON Patch; core/json-patch.ts says what each operation needs. */
export const PatchBody = Type.Array(
  Type.Object({
    op: Type.String({ description: 'add, remove, replace, move, copy or test.' }),
    path: Type.String({ description: 'A JSON Pointer, for example /description.' }),
    from: Type.Optional(Type.String()),
    value: Type.Optional(Type.Unknown()),
  }),
)
