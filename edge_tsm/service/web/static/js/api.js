// Requests to /api/v1. What fails throws a Problem whose message is for people.

export class Problem extends Error {
  constructor(status, code, message, retry_s = null) {
    super(message);
    Object.assign(this, { status, code, retry_s });
  }
}

const TIMEOUT_MS = 15_000;
const listeners = new Set();

/** Calls `listener` whenever the server wants a token. */
export const onUnauthorized = (listener) => listeners.add(listener);

async function request(method, path, body) {
  const options = { method, credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS), headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}`, options);
  } catch {
    throw new Problem(0, "unreachable", "The device does not answer.");
  }
  if (answer.ok) return answer;
  const problem = await told(answer);
  if (problem.status === 401) listeners.forEach((listener) => listener());
  throw problem;
}

async function told(answer) {
  const retry_s = Number(answer.headers.get("Retry-After")) || null;
  try {
    const { error } = await answer.json();
    return new Problem(answer.status, error.code, error.message, retry_s);
  } catch {
    return new Problem(answer.status, "internal", `The device answered ${answer.status}.`, retry_s);
  }
}

async function json(method, path, body) {
  const answer = await request(method, path, body);
  return answer.status === 204 ? null : answer.json();
}

export const get = (path) => json("GET", path);
export const post = (path, body = {}) => json("POST", path, body);
export const put = (path, body) => json("PUT", path, body);
export const remove = (path) => json("DELETE", path);
export const getText = async (path) => (await request("GET", path)).text();

/** `query("events", {camera: "a b", label: ""})` -> "events?camera=a%20b": what is empty is left out. */
export function query(path, values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `${path}?${given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}` : path;
}
