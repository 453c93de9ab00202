// What the viewer changed of the rules and has not saved: the CHANGES of the API, per scope.

import { on, state, tell } from "./state.js";

const drafts = new Map(); // camera or null -> changes

const NUMBERS = ["on", "off", "mean_answers", "decay_s", "min_duration_s", "cool_down_s"];

/** The changes of a scope. */
export const changesOf = (scope) => drafts.get(scope.camera) ?? {};

export const changed = (scope) => Object.keys(changesOf(scope)).length > 0;

/** A value as it would be: changed, or as it is. */
export function valueOf(scope, name) {
  return changesOf(scope)[name] ?? scope.values[name].value;
}

/** The thresholds of a class as they would be; without `label`, the general ones. */
export function pairOf(scope, label) {
  const general = { on: valueOf(scope, "on"), off: valueOf(scope, "off"), own: false };
  if (!label) return general;
  const drawn = changesOf(scope).thresholds ?? {};
  const own = label in drawn ? drawn[label] : scope.values.thresholds[label]?.value;
  return own ? { ...own, own: true } : general;
}

function put(scope, changes) {
  const kept = Object.entries(changes).filter(([name, value]) => scope.trying || !same(scope, name, value));
  drafts.set(scope.camera, Object.fromEntries(kept));
  tell("draft", scope);
}

function same(scope, name, value) {
  if (name !== "thresholds") return scope.values[name].value === value;
  return Object.keys(value).length === 0;
}

/** Changes a number; the two ways of smoothing exclude each other. */
export function setNumber(scope, name, value) {
  const other = value > 0 && name === "decay_s" ? { mean_answers: 1 } : value > 1 && name === "mean_answers" ? { decay_s: 0 } : {};
  put(scope, { ...changesOf(scope), [name]: value, ...other });
}

/** Changes `on` or `off` of a class, or of all without their own; the other one gives way. */
export function setThreshold(scope, label, part, value) {
  const now = pairOf(scope, label);
  const pair = part === "on" ? { on: value, off: Math.min(now.off, value) } : { on: Math.max(now.on, value), off: value };
  if (!label) return put(scope, { ...changesOf(scope), ...pair });
  return setPair(scope, label, pair);
}

/** Gives a class its own thresholds, or takes them away (null). */
export function setPair(scope, label, pair) {
  const thresholds = { ...changesOf(scope).thresholds, [label]: pair };
  const is = scope.values.thresholds[label]?.value ?? null;
  const unchanged = pair === null ? is === null : is && is.on === pair.on && is.off === pair.off;
  if (unchanged && !scope.trying) delete thresholds[label];
  return put(scope, { ...changesOf(scope), thresholds });
}

export function discard(scope) {
  drafts.delete(scope.camera);
  tell("draft", scope);
}

/** What a try changed is a draft too: it may be saved after the page was opened again. */
on("rules", () => {
  for (const scope of state.rules.scopes) {
    if (!scope.trying || changed(scope)) continue;
    const tried = NUMBERS.filter((name) => scope.values[name].origin === "trying").map((name) => [name, scope.values[name].value]);
    const own = Object.entries(scope.values.thresholds).filter(([, { origin }]) => origin === "trying").map(([label, { value }]) => [label, value]);
    const changes = Object.fromEntries(tried);
    if (own.length) changes.thresholds = Object.fromEntries(own);
    drafts.set(scope.camera, changes);
  }
});
