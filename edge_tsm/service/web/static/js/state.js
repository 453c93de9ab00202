// What the page knows, and who is told when it changes.

export const state = {
  version: null, // GET /version
  labels: [],
  model: null,
  activation: "softmax",
  cameras: [], // of GET /cameras; `since_ms` is when a camera's state began, by `performance.now()`
  selected: null, // id of a camera
  rules: null, // GET /rules
  stats: null, // GET /stats
  tab: "live",
  paused: false,
  seeing: new Set(), // ids of cameras that show what the model sees
  connected: false,
  ahead_ms: 0, // the server's clock minus this machine's
};

const listeners = new Map();

/** Calls `listener(detail)` at each `tell(topic, detail)`; topics: see `tell`'s callers. */
export function on(topics, listener) {
  for (const topic of topics.split(" ")) {
    if (!listeners.has(topic)) listeners.set(topic, []);
    listeners.get(topic).push(listener);
  }
}

export function tell(topic, detail) {
  for (const listener of listeners.get(topic) ?? []) listener(detail);
}

/** The server's time of day now, in milliseconds since 1970. */
export const now_ms = () => Date.now() + state.ahead_ms;

export const camera = (id) => state.cameras.find((one) => one.id === id);
export const selected = () => camera(state.selected);
export const writable = () => Boolean(state.version) && !state.version.read_only;

export function select(id) {
  if (!camera(id) || id === state.selected) return;
  state.selected = id;
  tell("selected");
}

/** The rules of a camera: its own, or those of all that have none. */
export function scopeOf(id) {
  const scopes = state.rules?.scopes ?? [];
  return scopes.find((scope) => scope.camera === id) ?? scopes.find((scope) => scope.cameras.includes(id)) ?? scopes[0];
}

/** `on` and `off` of a class at a camera, and whether they are its own. */
export function thresholds(scope, label) {
  const own = scope?.values.thresholds?.[label]?.value;
  if (own) return { ...own, own: true };
  return { on: scope?.values.on.value, off: scope?.values.off.value, own: false };
}

// Kept here, before anyone else is told: listeners are called in the order of their modules.
const STEPPED_MS = 1000; // a clock that is off by more was set meanwhile, here or there
on("stats", ({ stats }) => {
  state.stats = stats;
  const ahead_ms = Date.parse(stats.utc) - Date.now();
  if (Math.abs(ahead_ms - state.ahead_ms) > STEPPED_MS) state.ahead_ms = ahead_ms;
});
on("rules", ({ rules }) => {
  state.rules = rules;
  for (const scope of rules.scopes) if (scope.trying) scope.until_ms = Date.now() + scope.trying.left_s * 1000;
});
