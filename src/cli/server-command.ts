// muster serve and muster secrets: what runs on the side of the server.
import type { Command } from 'commander'
import type { ServeOptions } from './serve.ts'

/**
 * Adds the commands. Their code is loaded on use: server and database are no part of a client, and take longer to load
 * than most of its calls take.
 */
export function addServerCommands(program: Command): void {
  program
    .command('serve')
    .description('run the server; settings come from the environment (docs/reference/settings.md)')
    .option('--host <address>', 'where to listen, in place of MUSTER_HOST')
    .option('--port <number>', 'where to listen, in place of MUSTER_PORT; 0 for any free one')
    .option('--data-dir <folder>', 'where the data lies, in place of MUSTER_DATA_DIR')
    .addHelpText(
      'after',
      '\nExamples:\n  muster serve\n  muster serve --port 9090 --data-dir /srv/muster',
    )
    .action(async (options: ServeOptions) => (await import('./serve.ts')).serve(options))
  const secrets = program.command('secrets').description('look after what is sealed')
  secrets
    .command('rotate')
    .description('seal all secrets with a new master key; the server must be off')
    .addHelpText(
      'after',
      '\nWith the embedded database a new key is drawn and replaces the file "key" of the data folder. Where MUSTER_KEY\n' +
        'is set, give the new one in MUSTER_NEW_KEY or MUSTER_NEW_KEY_FILE.\n\nExample:\n  muster secrets rotate',
    )
    .action(async () => (await import('./serve.ts')).rotateSecrets())
}
