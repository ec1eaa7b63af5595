/** Errors of requests to an endpoint. */

/** A request failed, or its answer is invalid. */
export class EndpointError extends Error {
  override name = "EndpointError";
}

/** The server answered a request with an error status. */
export class RefusedError extends EndpointError {
  constructor(url: string, readonly status: number, readonly body: string) {
    super(`${url} answers ${status}: ${body}`);
  }

  /** Whether the server rejected the request because of this field. */
  names(field: string): boolean {
    return [400, 422].includes(this.status) && this.body.includes(field);
  }

  /** Whether the server lacks the route. Errors about a missing model are not included. */
  get isMissingRoute(): boolean {
    return [404, 405, 501].includes(this.status) && !/model/i.test(this.body);
  }
}
