// Calls the API with the paths, parameters and replies of the OpenAPI document.
import { fillIn, queryText } from "./address";
import type { paths } from "./schema";
import { rejectToken, session } from "./session";
import type { Problem } from "./types";

type Method = "get" | "post" | "put" | "delete";
type PathsWith<M extends Method> = {
  [P in keyof paths]: paths[P][M] extends { responses: object } ? P : never;
}[keyof paths];
type Operation<P extends keyof paths, M extends Method> = paths[P][M];
type JsonOf<Content> = Content extends { "application/json": infer Json } ? Json : never;

/** The JSON of a successful reply. */
export type Reply<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { responses: { "2XX": { content: infer Content } } } ? JsonOf<Content> : never;
/** The JSON of a request. */
export type Body<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { requestBody?: infer Request }
    ? NonNullable<Request> extends { content: infer Content }
      ? JsonOf<Content>
      : undefined
    : undefined;
type PathParameters<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { parameters: { path: infer Names } } ? Names : undefined;
type QueryParameters<P extends keyof paths, M extends Method> =
  Operation<P, M> extends { parameters: { query?: infer Names } }
    ? NonNullable<Names>
    : Record<string, never>;

interface CallOptions<P extends keyof paths, M extends Method> {
  path?: PathParameters<P, M>;
  query?: QueryParameters<P, M>;
  body?: Body<P, M>;
  headers?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
}

/** An error reply of the API, or no reply (status 0). */
export class ApiError extends Error {
  readonly status: number;
  readonly kind: string;
  readonly title: string;

  constructor(status: number, problem: Partial<Problem>) {
    // What stands in front of a server replies so while that one starts again.
    const isGateway = [502, 503, 504].includes(status) && problem.title === undefined;
    const text = isGateway
      ? `The gateway replied with ${status}. The server may be starting again.`
      : `The server replied with ${status}.`;
    super(problem.detail ?? problem.title ?? text);
    this.status = status;
    this.kind = problem.type ?? "";
    this.title = problem.title ?? (isGateway ? "No connection" : "Error");
  }
}

const base = document.baseURI;

/**
 * What requests with the cookie of a session have as their credential, so that a gateway in front of the API lets them
 * through. The server says in its document whether there is such a gateway.
 */
const cookieCredential = document.querySelector("base")?.dataset["authorization"];

/** The address of a path of the API, which is beside the page, whatever the prefix. */
export function apiUrl(path: string): string {
  return new URL(`.${path}`, base).href;
}

declare global {
  interface Window {
    /** What `early.ts` has requested, with the token for which it is. */
    earlyRequests?: { token: string | null; at: number; replies: Map<string, Promise<Response>> };
  }
}

/** A reply that was requested longer ago may be out of date. */
const MAX_EARLY_MS = 10_000;

/** Takes the reply to an early request for this path, if there is one. */
function takeEarly(path: string, token: string | null): Promise<Response> | undefined {
  const early = typeof window === "undefined" ? undefined : window.earlyRequests;
  if (early === undefined || early.token !== token || Date.now() - early.at > MAX_EARLY_MS) return undefined;
  const reply = early.replies.get(path);
  early.replies.delete(path);
  return reply;
}

/** No other site can send this header, so that a cookie counts only for requests of this page. */
const OWN_REQUEST = "x-tidemill-request";

/**
 * Sends a request with the token; without one, the browser adds the cookie of the session. Fails with `ApiError` unless
 * the reply is a success or 304.
 */
export async function send(path: string, options: RequestInit = {}): Promise<Response> {
  const { token } = session.value;
  const headers = new Headers(options.headers);
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  else if (cookieCredential !== undefined) headers.set("authorization", cookieCredential);
  const isRead = options.method === undefined || options.method === "GET";
  if (!isRead) headers.set(OWN_REQUEST, "1");
  const early = isRead && !headers.has("if-none-match") ? takeEarly(path, token) : undefined;
  let reply: Response;
  try {
    reply = await (early ?? fetch(apiUrl(path), { ...options, headers }));
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    throw new ApiError(0, { title: "No connection", detail: "The server does not answer." });
  }
  if (reply.ok || reply.status === 304) return reply;
  if (reply.status === 401) rejectToken(token);
  const problem: unknown = await reply.json().catch(() => ({}));
  throw new ApiError(reply.status, problem as Partial<Problem>);
}

function request<P extends keyof paths, M extends Method>(
  method: M,
  path: P,
  options: CallOptions<P, M>,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const names = options.path as Record<string, string> | undefined;
  const address = fillIn(path, names) + queryText(options.query);
  const init: RequestInit = { method: method.toUpperCase(), headers };
  if (options.signal !== undefined) init.signal = options.signal;
  if (method === "post" || method === "put") {
    const body: unknown = options.body;
    init.body = JSON.stringify(body ?? {});
    init.headers = { ...headers, "content-type": "application/json" };
  }
  return send(address, init);
}

/** Reads something. */
export async function get<P extends PathsWith<"get">>(
  path: P,
  options: CallOptions<P, "get"> = {},
): Promise<Reply<P, "get">> {
  const reply = await request("get", path, options);
  return (await reply.json()) as Reply<P, "get">;
}

/** A value with its version. */
export interface Versioned<Value> {
  readonly etag: string | null;
  readonly value: Value | null;
}

/** Reads something unless it still has this version; `value` is then `null`. */
export async function getIfChanged<P extends PathsWith<"get">>(
  path: P,
  options: CallOptions<P, "get">,
  etag: string | null,
): Promise<Versioned<Reply<P, "get">>> {
  const reply = await request("get", path, options, etag === null ? {} : { "if-none-match": etag });
  if (reply.status === 304) return { etag, value: null };
  return { etag: reply.headers.get("etag"), value: (await reply.json()) as Reply<P, "get"> };
}

/** Changes something. */
export async function post<P extends PathsWith<"post">>(
  path: P,
  options: CallOptions<P, "post"> = {},
): Promise<Reply<P, "post">> {
  const reply = await request("post", path, options, options.headers);
  return (await reply.json()) as Reply<P, "post">;
}

/** Creates or replaces something. */
export async function put<P extends PathsWith<"put">>(
  path: P,
  options: CallOptions<P, "put"> = {},
): Promise<Reply<P, "put">> {
  const reply = await request("put", path, options);
  return (await reply.json()) as Reply<P, "put">;
}

/** Removes something. */
export async function remove<P extends PathsWith<"delete">>(
  path: P,
  options: CallOptions<P, "delete"> = {},
): Promise<void> {
  await request("delete", path, options);
}
