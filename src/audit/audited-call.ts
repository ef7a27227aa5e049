// One call in an audit trail: what is told of it, and how it stands in its line.

/** One changing call, of the platform or of the gateway itself, as it is written: nothing in it is secret any more. */
export interface AuditedCall {
  readonly client: string | null;
  /** The platform's user behind the session that the call was made with; absent where none is known. */
  readonly sessionUser?: string;
  /** The call that it repeats, by its request id, and who asked for that; absent for what a caller sent. */
  readonly replayOf?: string;
  readonly replayedBy?: string | null;
  readonly credential: string | null;
  /** The platform's name of the operation; null while it is not known. */
  readonly operation: string | null;
  readonly method: string;
  /** As the record of the call shows it. */
  readonly path: string;
  /** What the platform answered; 0 where nothing was answered. */
  readonly status: number;
  readonly requestId: string;
  readonly correlationId: string | null;
  readonly peer: string | null;
}

/** The inside of its line, as `AuditChain.next` takes it. */
export function callFields(call: AuditedCall): string {
  const { client, sessionUser, credential, operation, method, path, status, requestId, correlationId, peer } = call;
  const user = sessionUser === undefined ? '' : `,"sessionUser":${text(sessionUser)}`;
  const { replayOf, replayedBy = null } = call;
  const replay = replayOf === undefined ? '' : `,"replayOf":${text(replayOf)},"replayedBy":${text(replayedBy)}`;
  return (
    `"client":${text(client)}${user},"credential":${text(credential)},"operation":${text(operation)}` +
    `,"method":${text(method)},"path":${text(path)},"status":${status},"requestId":${text(requestId)}` +
    `,"correlationId":${text(correlationId)},"peer":${text(peer)}${replay}`
  );
}

function text(value: string | null): string {
  return value === null ? 'null' : JSON.stringify(value);
}
