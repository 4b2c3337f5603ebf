// Keys of requests that start something, so that a repetition of one whose reply was lost does not start it again.

/** The maximum number of requests without success whose key is kept. */
const MAX_KEYS = 20;
const keys = new Map<string, string>();

/** A new key. `randomUUID` is missing where the page does not come by HTTPS. */
function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/** Runs `send` with the headers of this request. An equal request has the same key until it succeeded. */
export async function once<Reply>(
  request: unknown,
  send: (headers: Record<string, string>) => Promise<Reply>,
): Promise<Reply> {
  const text = JSON.stringify(request);
  const key = keys.get(text) ?? newKey();
  keys.delete(text);
  keys.set(text, key);
  for (const oldest of keys.keys()) {
    if (keys.size <= MAX_KEYS) break;
    keys.delete(oldest);
  }
  const reply = await send({ "idempotency-key": key });
  keys.delete(text);
  return reply;
}
