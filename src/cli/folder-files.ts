// Which files of a folder are for which source: the name begins with the id of the source, or with the number that ISC gave it.
import { readdir, stat } from 'node:fs/promises'
import { basename, join, relative, sep } from 'node:path'
import type { Source } from '../client/index.ts'
import { CliError, exitCodes } from './exit-code.ts'

/** A file of a folder. */
export interface FolderFile {
  readonly path: string
  /** As it is shown: below the folder, with slashes. */
  readonly name: string
  readonly bytes: number
  /** Where it goes; null for one that is left alone or has no source. */
  readonly source: Pick<Source, 'id' | 'name'> | null
  /** Why it goes nowhere; null where it goes somewhere. */
  readonly reason: string | null
  /** Its name says a source, and there is none: an error, where an ordinary file is only left alone. */
  readonly isLost: boolean
}

export interface FolderOptions {
  readonly recursive: boolean
  /** The ends of the names that count, without a dot, in any case. */
  readonly extensions: readonly string[]
}

/** The files of a folder in the order of their names, with where they go. Throws with the code of wrong usage for a folder that cannot be read. */
export async function assignFiles(
  folder: string,
  sources: readonly Source[],
  options: FolderOptions,
): Promise<readonly FolderFile[]> {
  const files: FolderFile[] = []
  for (const path of await listed(folder, options.recursive)) {
    const info = await stat(path).catch(() => null)
    if (info?.isDirectory() === true) continue
    const name = relative(folder, path).split(sep).join('/')
    const place = { path, name, bytes: info?.size ?? 0 }
    if (info?.isFile() !== true) {
      files.push({ ...place, source: null, reason: 'it cannot be read', isLost: false })
    } else files.push({ ...place, ...assign(basename(path), sources, options.extensions) })
  }
  return files
}

/** Which source the name of a file says. */
export function assign(
  name: string,
  sources: readonly Source[],
  extensions: readonly string[],
): Pick<FolderFile, 'source' | 'reason' | 'isLost'> {
  const leave = (reason: string, isLost = false) => ({ source: null, reason, isLost })
  if (name.startsWith('.')) return leave('its name begins with a dot')
  const lower = name.toLowerCase()
  if (!extensions.some((extension) => lower.endsWith(`.${extension.toLowerCase()}`))) {
    return leave(`its name does not end in ${extensions.map((one) => `.${one}`).join(' or ')}`)
  }
  const id = /^([0-9a-f]{32})(?![0-9a-z])/i.exec(name)?.[1]?.toLowerCase()
  if (id !== undefined) {
    const source = sources.find((one) => one.id === id)
    return source === undefined
      ? leave(`there is no source ${id}`, true)
      : { source, reason: null, isLost: false }
  }
  const number = /^(\d{4,10})(?![0-9a-z])/i.exec(name)?.[1]
  if (number === undefined) return leave('its name does not begin with the id of a source')
  const source = sources.find(
    ({ connectorAttributes }) => String(connectorAttributes?.['cloudExternalId']) === number,
  )
  return source === undefined
    ? leave(`no source has the cloudExternalId ${number}`)
    : { source, reason: null, isLost: false }
}

async function listed(folder: string, recursive: boolean): Promise<readonly string[]> {
  try {
    const entries = await readdir(folder, { recursive, withFileTypes: true })
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name))
      .toSorted()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CliError(exitCodes.usage, `The folder cannot be read: ${reason}.`)
  }
}
