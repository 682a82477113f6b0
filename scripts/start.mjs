// `npm start`: makes the clone ready, then becomes `muster serve` in this same process, so that a signal finds one process.
import { ensure } from './ensure.mjs'

ensure()
process.argv.splice(2, 0, 'serve')
await import('../bin/muster.js')
