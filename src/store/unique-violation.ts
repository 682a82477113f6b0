// Tells whether a statement failed because a unique constraint or index has that value already.

/** Whether an error of the driver is a violation of the named constraint or index. */
export function isUniqueViolation(error: unknown, constraint: string): boolean {
  return (
    error instanceof Error &&
    Reflect.get(error, 'code') === '23505' &&
    Reflect.get(error, 'constraint') === constraint
  )
}
