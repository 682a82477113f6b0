// muster aggregate <folder>: uploads the files of a folder, each to the source that its name says, several at a time.
import type { Client, Source, TaskStatus } from '../client/index.ts'
import type { AggregateOptions } from './aggregate-command.ts'
import { requireChanges } from './confirm.ts'
import { connect } from './connection.ts'
import { CliError, exitCodes } from './exit-code.ts'
import type { ExitCode } from './exit-code.ts'
import { assignFiles } from './folder-files.ts'
import type { FolderFile } from './folder-files.ts'
import { allSources } from './find-source.ts'
import { goesOn } from './follow-task.ts'
import { isForPrograms, printView } from './output.ts'
import { progressBar } from './progress-bar.ts'
import { failureOf, outcome, runOf, worst } from './run-outcome.ts'
import { note, number, plain, printTable, show, size } from './terminal.ts'
import { openUpload, upload } from './upload-file.ts'

/** What became of a file; docs/reference/cli.md describes it. */
interface FileOutcome {
  readonly file: string
  readonly bytes: number
  readonly sourceId: string | null
  readonly sourceName: string | null
  /** Why it was left alone or failed; null where the task says it. */
  readonly reason: string | null
  readonly taskId: string | null
  readonly completionStatus: string | null
  readonly created: number | null
  readonly updated: number | null
  readonly removed: number | null
  readonly rejected: number | null
  readonly messages: readonly string[]
  readonly exitCode: ExitCode
}

type Assigned = FolderFile & { readonly source: Pick<Source, 'id' | 'name'> }

const columns = ['file', 'bytes', 'sourceId', 'sourceName', 'reason', 'taskId', 'completionStatus']
const parallelUnlessSaid = 4

/** Uploads what the names of files say, waits for the runs and prints a line for each; the exit code is the worst. */
export async function aggregateFolder(folder: string, options: AggregateOptions): Promise<void> {
  const client = connect(options)
  const isDry = options.list === true
  if (!isDry) requireChanges(client, 'An aggregation')
  const files = await assignFiles(folder, await allSources(client), {
    recursive: options.recursive === true,
    extensions: (options.extension ?? ['csv', 'csv.gz']).map((one) => one.replace(/^\./, '')),
  })
  const wanted = files.filter((file): file is Assigned => file.source !== null)
  const left = files.filter(({ source }) => source === null).map(untouched)
  if (isDry) {
    list(files, options)
    process.exitCode = worst(left.map(({ exitCode }) => exitCode))
    refuseDoubles(wanted)
    return
  }
  refuseDoubles(wanted)
  if (wanted.length === 0) {
    for (const { file, reason } of left) note(`${plain(file)}: ${reason ?? ''}.`)
    throw new CliError(
      worst([exitCodes.usage, ...left.map(({ exitCode }) => exitCode)]),
      `There is nothing to upload in ${folder}.`,
      'Name the files "<32 hex digits of the source> - any text.csv"; --list shows what is made of the names.',
    )
  }
  const done = [...(await uploadAll(client, wanted, options)), ...left]
  printView(options, { data: done, columns, table: () => summarise(done) })
  for (const { file, reason, messages } of done) {
    if (reason !== null) note(`${plain(file)}: ${plain(reason)}`)
    for (const message of messages) note(`${plain(file)}: ${plain(message)}`)
  }
  process.exitCode = worst(done.map(({ exitCode }) => exitCode))
}

/** A run takes its file as the whole list, so that a second one would remove what only the first one has. */
function refuseDoubles(files: readonly Assigned[]): void {
  for (const { name, source } of files) {
    const same = files.filter((one) => one.source.id === source.id)
    if (same.length === 1) continue
    throw new CliError(
      exitCodes.usage,
      `${same.length} files are for the source "${source.name}": ${same.map((one) => one.name).join(', ')}.`,
      `A run takes its file as the whole list of accounts. Leave one of them, ${name} or another.`,
    )
  }
}

function list(files: readonly FolderFile[], options: AggregateOptions): void {
  const data = files.map(({ name, bytes, source, reason }) => ({
    file: name,
    bytes,
    sourceId: source?.id ?? null,
    sourceName: source?.name ?? null,
    reason,
  }))
  printView(options, {
    data,
    columns: columns.slice(0, 5),
    table: () =>
      printTable(
        ['FILE', 'SIZE', 'SOURCE', ''],
        data.map(({ file, bytes, sourceName, reason }) => [
          file,
          size(bytes),
          sourceName ?? '-',
          reason === null ? '' : `left alone: ${reason}`,
        ]),
      ),
  })
}

/** Works the files off, a few at a time. Ctrl-C and the end of the time begin nothing new and say what goes on. */
async function uploadAll(
  client: Client,
  files: readonly Assigned[],
  options: AggregateOptions,
): Promise<readonly FileOutcome[]> {
  const bar = progressBar(isForPrograms(options))
  const stop = new AbortController()
  const interrupt = (): void =>
    stop.abort(new CliError(exitCodes.interrupted, 'Stopped by Ctrl-C.'))
  const endsAt =
    options.timeout === undefined ? Number.POSITIVE_INFINITY : Date.now() + options.timeout
  const waiting = [...files.entries()]
  const done: FileOutcome[] = []
  let ended = 0
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [at, file] = next
      const tell = (text: string): void =>
        bar.show(ended / files.length, `${ended} of ${files.length} files; ${file.name}: ${text}`)
      done[at] = await uploadOne(client, file, options, { signal: stop.signal, endsAt, tell })
      ended += 1
    }
  }
  process.once('SIGINT', interrupt)
  try {
    await Promise.all(
      Array.from({ length: Math.min(options.parallel ?? parallelUnlessSaid, files.length) }, work),
    )
  } finally {
    process.off('SIGINT', interrupt)
    bar.clear()
  }
  return done
}

async function uploadOne(
  client: Client,
  file: Assigned,
  options: AggregateOptions,
  now: {
    readonly signal: AbortSignal
    readonly endsAt: number
    readonly tell: (text: string) => void
  },
): Promise<FileOutcome> {
  let taskId: string | null = null
  try {
    now.signal.throwIfAborted()
    if (Date.now() > now.endsAt) throw new CliError(exitCodes.timeout, 'The time was over.')
    const content = await openUpload(file.path)
    const { task } = await upload(client, file.source.id, content, options, (sent) =>
      now.tell(`uploading ${size(sent)} of ${size(file.bytes)}`),
    )
    taskId = task.id
    if (!options.wait) return { ...begun(file), taskId, exitCode: exitCodes.ok }
    const ended = await client.waitForTask(taskId, {
      signal: now.signal,
      ...(Number.isFinite(now.endsAt) && { timeoutMs: Math.max(0, now.endsAt - Date.now()) }),
      onProgress: ({ progress }) => now.tell(progress ?? 'waiting'),
    })
    const run = await runOf(client, taskId)
    return {
      ...counted(file, ended),
      exitCode: outcome(ended, run, options.failOnWarning === true),
    }
  } catch (error) {
    const { code, text } = failureOf(error)
    const reason = taskId === null ? text : `${text} ${goesOn(taskId)}`
    return { ...begun(file), taskId, reason, exitCode: code }
  }
}

function begun({ name, bytes, source, reason }: FolderFile): Omit<FileOutcome, 'exitCode'> {
  return {
    file: name,
    bytes,
    sourceId: source?.id ?? null,
    sourceName: source?.name ?? null,
    reason,
    taskId: null,
    completionStatus: null,
    created: null,
    updated: null,
    removed: null,
    rejected: null,
    messages: [],
  }
}

function untouched(file: FolderFile): FileOutcome {
  return { ...begun(file), exitCode: file.isLost ? exitCodes.notFound : exitCodes.ok }
}

function counted(file: FolderFile, task: TaskStatus): Omit<FileOutcome, 'exitCode'> {
  const count = (name: string): number => Number(task.attributes[name] ?? 0)
  return {
    ...begun(file),
    taskId: task.id,
    completionStatus: task.completionStatus,
    created: count('created'),
    updated: count('updated'),
    removed: count('deleted'),
    rejected: count('rejected'),
    messages: task.messages.map(({ type, key }) => `${type}: ${key}`),
  }
}

function summarise(files: readonly FileOutcome[]): void {
  const cell = (count: number | null): string => (count === null ? '' : number(count))
  printTable(
    ['FILE', 'SOURCE', 'STATUS', 'CREATED', 'UPDATED', 'REMOVED', 'REJECTED', 'TASK'],
    files.map((one) => [
      one.file,
      one.sourceName ?? '-',
      statusOf(one),
      cell(one.created),
      cell(one.updated),
      cell(one.removed),
      cell(one.rejected),
      show(one.taskId),
    ]),
  )
}

function statusOf({ completionStatus, reason, taskId, sourceId, exitCode }: FileOutcome): string {
  if (completionStatus !== null) return completionStatus
  if (exitCode === exitCodes.ok)
    return taskId === null || sourceId === null ? 'left alone' : 'begun'
  return taskId !== null && reason !== null ? 'goes on' : 'failed'
}
