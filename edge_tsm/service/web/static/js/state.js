// What the page knows, and who is told when it changes.

export const state = {
  version: null, // GET /version
  labels: [],
  model: null,
  activation: "softmax",
  cameras: [], // of GET /cameras; `since_ms` is when a camera's state began, by this machine's clock
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

// Colors: the classes of one chart never share one; a class keeps its color while it can.
const slots = new Map();
const COLORS = 8;

export function assignColors(indices) {
  const taken = new Set();
  for (const index of indices) {
    let slot = slots.get(index) ?? slots.size % COLORS;
    for (let tried = 0; taken.has(slot) && tried < COLORS; tried += 1) slot = (slot + 1) % COLORS;
    slots.set(index, slot);
    taken.add(slot);
  }
}

/** The number of a class's color, 0 to 7: `--series-N`. */
export function colorOf(index) {
  if (!slots.has(index)) slots.set(index, slots.size % COLORS);
  return slots.get(index);
}

// Kept here, before anyone else is told: listeners are called in the order of their modules.
on("stats", ({ stats }) => { state.stats = stats; });
on("rules", ({ rules }) => {
  state.rules = rules;
  for (const scope of rules.scopes) if (scope.trying) scope.until_ms = Date.now() + scope.trying.left_s * 1000;
});
