// How the help of a command is laid out: what is its own first, then what all commands share.
import { Help } from 'commander'
import type { HelpConfiguration, Option } from 'commander'

const own = 'Options:'

/** The layout, for `configureHelp` of the root; commands that are added afterwards have it too. */
export const helpLayout: HelpConfiguration = {
  groupItems(_unsorted, visible, groupOf) {
    const names = new Set(visible.map(groupOf))
    const ordered = names.has(own) ? [own, ...names] : [...names]
    return new Map(ordered.map((name) => [name, visible.filter((item) => groupOf(item) === name)]))
  },
  optionDescription(option) {
    return Help.prototype.optionDescription.call(this, withoutEmptyDefault(option))
  },
}

/** `default: []` and `default: true` tell a person nothing. */
function withoutEmptyDefault(option: Option): Option {
  const value: unknown = option.defaultValue
  const isSilent = typeof value === 'boolean' || (Array.isArray(value) && value.length === 0)
  return isSilent ? Object.assign(Object.create(option), { defaultValue: undefined }) : option
}
