// Ids: uuids in the database, 32 lower-case hex digits on the wire.

/** A uuid as the database writes it → 32 hex digits. */
export function toWireId(uuid: string): string {
  return uuid.replaceAll('-', '').toLowerCase()
}

/** 32 hex digits (or a uuid with dashes, either case) → a uuid with dashes; null when it is neither. */
export function fromWireId(text: string): string | null {
  const hex = text.replaceAll('-', '').toLowerCase()
  if (!/^[0-9a-f]{32}$/.test(hex)) return null
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
