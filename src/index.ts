// The public face of the package: start Muster inside another program, for example in its tests.
export { createApp } from './app.ts'
export type { App, AppOptions } from './app.ts'
export { ConfigError, readConfig } from './config.ts'
export type { Config } from './config.ts'
