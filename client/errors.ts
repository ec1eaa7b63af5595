/** What requests to an endpoint fail with. */

/** A request that the endpoint did not answer as it should. */
export class EndpointError extends Error {
  override name = "EndpointError";
}

/** A request that it answered with an error's status. */
export class RefusedError extends EndpointError {
  constructor(url: string, readonly status: number, readonly body: string) {
    super(`${url} answers ${status}: ${body}`);
  }

  /** Whether it refuses the request for this field. */
  names(field: string): boolean {
    return [400, 422].includes(this.status) && this.body.includes(field);
  }

  /** Whether it has no such route; a model that it does not have is not found either. */
  get isMissingRoute(): boolean {
    return [404, 405, 501].includes(this.status) && !/model/i.test(this.body);
  }
}
