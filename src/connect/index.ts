// The public face for packages of connectors, `musterd/connect`.
export { RunError } from '../core/errors.ts'
export type {
  ConnectorDescription,
  DescribedAttribute,
  DescribedSchema,
} from '../core/description.ts'
export type { AttributeType } from '../core/schema.ts'
export type { Settings } from '../core/setting.ts'
export type {
  ConnectOptions,
  Outbound,
  OutboundAnswer,
  OutboundPolicy,
  OutboundRequest,
  OutboundTls,
  UpgradeOptions,
} from './outbound.ts'
export type {
  Connector,
  Cursor,
  Page,
  ReadCopy,
  ReadEnd,
  Reader,
  ReadRecord,
  ReadRequest,
  ReaderTools,
  ReadValue,
  WantedAttribute,
} from './reader.ts'
