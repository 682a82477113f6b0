// The little of express that the SCIM server of the tests uses; its types are a package of their own.
declare module 'express' {
  import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'

  function express(): express.Application
  namespace express {
    interface Request extends IncomingMessage {
      readonly originalUrl: string
      readonly query: Readonly<Record<string, unknown>>
      readonly body: unknown
    }
    interface Response extends ServerResponse {
      status(code: number): Response
      json(body: unknown): Response
    }
    type RequestHandler = (request: Request, response: Response, next: () => void) => void
    class Router {
      protected readonly stack: readonly unknown[]
    }
    interface Application {
      (...given: Parameters<RequestListener>): void
      use(handler: RequestHandler | Router): void
      use(path: string, handler: RequestHandler | Router): void
      post(path: string, ...handlers: readonly RequestHandler[]): void
    }
    function urlencoded(options: { extended: boolean }): RequestHandler
  }
  export = express
}
