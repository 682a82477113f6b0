// Changes that a system wants in the settings of its source, such as a token it has drawn anew.
import { forbiddenKey, pointerNames, readPatch } from './json-patch.ts'
import { RunError } from './errors.ts'
import type { Settings } from './setting.ts'

/** The settings after JSON Patch operations (add, replace, remove) whose paths begin with `/connectorAttributes/`. */
export function patchSettings(settings: Settings, operations: readonly unknown[]): Settings {
  let patched = settings
  for (const operation of readPatch(operations)) {
    const [root, ...names] = pointerNames(operation.path)
    const { op } = operation
    if (root !== 'connectorAttributes' || names.length === 0) {
      throw refused(`names the path "${operation.path}", which is no setting of the connector`)
    }
    if (op !== 'add' && op !== 'replace' && op !== 'remove') throw refused(`uses "${op}"`)
    if (forbiddenKey(Object.fromEntries([[names.join('/'), null]])) !== null) {
      throw refused('names a forbidden key')
    }
    patched = change(patched, names, op === 'remove' ? undefined : operation.value)
  }
  return patched
}

/** A copy with another value at a path; undefined removes it. Lists are replaced as a whole. */
function change(settings: Settings, names: readonly string[], value: unknown): Settings {
  const [name = '', ...rest] = names
  if (rest.length === 0) {
    const { [name]: _, ...others } = settings
    return value === undefined ? others : { ...others, [name]: value }
  }
  const inner = settings[name]
  const settled =
    typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? { ...inner } : {}
  return { ...settings, [name]: change(settled, rest, value) }
}

function refused(reason: string): RunError {
  return new RunError(
    'connector_failed',
    `A change that the connector wants in its settings ${reason}.`,
    {
      hint: 'Nothing was changed. This is a fault of the connector; tell its makers.',
    },
  )
}
