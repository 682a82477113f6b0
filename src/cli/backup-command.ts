// muster backup and muster restore: their options. What they do is loaded on use, as for the other commands of the server's side.
import type { Command } from 'commander'
import type { BackupOptions, RestoreOptions } from './keep.ts'

/** Adds the commands. */
export function addBackupCommands(program: Command): void {
  program
    .command('backup')
    .description(
      'write everything but the master key into one file, while the server runs or is off',
    )
    .argument('[file]', 'the file; "-" for standard output (default: a name made of the instant)')
    .option('--force', 'replace a file of this name')
    .option('--data-dir <folder>', 'where the data lies, in place of MUSTER_DATA_DIR')
    .option('--json', 'print what was written as JSON')
    .option('-q, --quiet', 'show no progress')
    .addHelpText(
      'after',
      '\nReads the same environment as muster serve. The file does not hold the master key: keep the file "key" of the\n' +
        'data folder, or MUSTER_KEY, in another place.\n\n' +
        'Examples:\n  muster backup\n  muster backup /backups/muster.backup --force\n  muster backup - | ssh host "cat > muster.backup"',
    )
    .action(async (file: string | undefined, options: BackupOptions) =>
      (await import('./keep.ts')).takeBackup(file, options),
    )
  program
    .command('restore')
    .description(
      'make an empty database what a backup says; also on a new machine or another PostgreSQL',
    )
    .argument('<file>', 'a file that muster backup wrote; "-" for standard input')
    .option('--check', 'only look whether the file is whole, and say what it holds')
    .option('--without-secrets', 'leave out what is sealed, where the master key is lost')
    .option('--data-dir <folder>', 'the new data folder, in place of MUSTER_DATA_DIR')
    .option('--json', 'print what was restored as JSON')
    .option('-q, --quiet', 'show no progress')
    .addHelpText(
      'after',
      '\nReads the same environment as muster serve, and refuses a database that holds anything. First copy the file "key"\n' +
        'of the old data folder into the new one, or set MUSTER_KEY.\n\n' +
        'Examples:\n  muster restore muster.backup --check\n  muster restore muster.backup --data-dir /srv/muster',
    )
    .action(async (file: string, options: RestoreOptions) =>
      (await import('./keep.ts')).restoreBackup(file, options),
    )
}
