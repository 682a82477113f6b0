// Whether the environment asks for OpenTelemetry. It imports nothing of it: where nobody asks, nothing is loaded.

/** What is to be sent. */
export interface Signals {
  readonly traces: boolean
  readonly metrics: boolean
}

/**
 * Reads the standard variables. The specification sends to localhost when nothing is set; here that has to be asked for, by
 * an endpoint or an exporter. `OTEL_SDK_DISABLED=true` and the exporter `none` switch off what others switch on.
 */
export function wantedSignals(env: NodeJS.ProcessEnv): Signals {
  if (env['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true') {
    return { traces: false, metrics: false }
  }
  return { traces: isWanted(env, 'TRACES'), metrics: isWanted(env, 'METRICS') }
}

function isWanted(env: NodeJS.ProcessEnv, signal: 'TRACES' | 'METRICS'): boolean {
  const text = (name: string): string => env[name]?.trim() ?? ''
  const exporter = text(`OTEL_${signal}_EXPORTER`)
  if (exporter !== '') return exporter.split(',').every((one) => one.trim() !== 'none')
  return (
    text('OTEL_EXPORTER_OTLP_ENDPOINT') !== '' ||
    text(`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`) !== ''
  )
}
