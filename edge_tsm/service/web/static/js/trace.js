// What is known of a camera's last ten minutes: scores, gaps and events, for the strip.

import { get, query } from "./api.js";
import { toast } from "./dialog.js";
import { keep, kept } from "./kept.js";
import { now_ms, on, state, tell } from "./state.js";

export const KEPT_MS = 600_000;
const STEPPED_MS = 2000; // backwards: the device's clock was set
const MOST_PINS = 24; // of a camera: more lines could not be told apart
const traces = new Map(); // id -> Trace

export class Trace {
  constructor(id) {
    this.id = id;
    this.points = []; // {t: ms, scores: Map of class to score}, oldest first
    this.gaps = []; // {from: ms, to: ms or null, reason}
    this.bars = new Map(); // event id -> event
    this.known = new Set(); // classes whose history is here
  }

  /** Loads what was before the page was opened; `classes`: those that are wanted in any case. */
  async load(classes) {
    const path = `cameras/${encodeURIComponent(this.id)}/scores`;
    const since = new Date(now_ms() - KEPT_MS).toISOString();
    const [scores, events] = await Promise.all([
      get(query(path, { seconds: KEPT_MS / 1000, classes: classes.join(","), top: 8 })),
      get(query("events", { camera: this.id, since, limit: 200 })),
    ]);
    this.#merge(scores);
    this.gaps = scores.gaps.map(({ start_utc, end_utc, reason }) => ({ from: Date.parse(start_utc), to: end_utc && Date.parse(end_utc), reason }));
    for (const event of events.events) this.bars.set(event.id, event);
    this.loaded = true;
    tell("trace", this.id);
  }

  /** Loads the history of classes that came into sight. */
  async want(classes) {
    const fresh = classes.filter((index) => !this.known.has(index));
    if (!this.loaded || !fresh.length) return;
    for (const index of fresh) this.known.add(index);
    const path = `cameras/${encodeURIComponent(this.id)}/scores`;
    this.#merge(await get(query(path, { seconds: KEPT_MS / 1000, classes: fresh.join(","), top: 0 })));
    tell("trace", this.id);
  }

  #merge({ utc, series }) {
    const at = new Map(this.points.map((point) => [point.t, point]));
    const times = utc.map((time) => time && Date.parse(time));
    const stepped = times.findLastIndex((t, i) => t && t < times[i - 1] - STEPPED_MS);
    times.forEach((t, i) => {
      if (!t || (i < stepped && t >= times[stepped])) return;
      if (!at.has(t)) at.set(t, { t, scores: new Map() });
      for (const { index, scores } of series) at.get(t).scores.set(index, scores[i]);
    });
    for (const { index } of series) this.known.add(index);
    this.points = [...at.values()].sort((one, other) => one.t - other.t);
  }

  add(t, scores) {
    if (t < this.points.at(-1)?.t - STEPPED_MS) this.#forgetFrom(t);
    if (t <= this.points.at(-1)?.t) return;
    this.points.push({ t, scores: new Map(scores) });
    const oldest = now_ms() - KEPT_MS - 10_000;
    while (this.points.length && this.points[0].t < oldest) this.points.shift();
    for (const [id, { end_utc }] of this.bars) if (end_utc && Date.parse(end_utc) < oldest) this.bars.delete(id);
  }

  /** Forgets what came later than now, as it was by a clock that has been set back. */
  #forgetFrom(t) {
    this.points = this.points.filter((point) => point.t < t);
    this.gaps = this.gaps.filter(({ from }) => from < t);
    for (const [id, { start_utc }] of this.bars) if (Date.parse(start_utc) > t + STEPPED_MS) this.bars.delete(id);
  }

  gap(change) {
    const t = Date.parse(change.utc) || now_ms();
    const open = this.gaps.find((gap) => gap.to === null);
    if (open && change.state === "live") open.to = t;
    else if (open) open.reason = change.state;
    else if (change.state !== "live") this.gaps.push({ from: t, to: null, reason: change.state });
    this.gaps = this.gaps.filter(({ to }) => to === null || to > now_ms() - KEPT_MS);
  }

  /** The classes with the highest peaks since `from`, best first. */
  best(from, most) {
    const peaks = new Map();
    for (const { t, scores } of this.points) {
      if (t < from) continue;
      for (const [index, score] of scores) if (score > (peaks.get(index) ?? -1)) peaks.set(index, score);
    }
    return [...peaks].sort((one, other) => other[1] - one[1]).slice(0, most).map(([index]) => index);
  }
}

export function traceOf(id) {
  if (!traces.has(id)) traces.set(id, new Trace(id));
  return traces.get(id);
}

/** Forgets everything: after a lost connection there are holes in it. */
export const forget = () => traces.clear();

on("answer", ({ camera, utc, scores }) => {
  traceOf(camera).add(Date.parse(utc) || now_ms(), scores);
  tell("trace", camera);
});
on("event", ({ event }) => {
  if (!event.source) return;
  traceOf(event.source).bars.set(event.id, event);
  tell("trace", event.source);
});
on("gap", ({ camera, utc }) => traceOf(camera).add(Date.parse(utc) || now_ms(), [])); // the line breaks here
on("state", ({ state: change }) => traceOf(change.source).gap(change));

/** Classes that the viewer pinned, per camera; kept by the browser. */
export const pins = {
  all: kept("pins", {}), // labels by camera
  of: (id) => (pins.all[id] ?? []).map((label) => state.labels.indexOf(label)).filter((index) => index >= 0),
  toggle(id, index) {
    const label = state.labels[index];
    const had = pins.all[id] ?? [];
    if (!had.includes(label) && pins.of(id).length >= MOST_PINS) return toast(`${MOST_PINS} classes are pinned already.`);
    pins.all[id] = had.includes(label) ? had.filter((one) => one !== label) : [...had, label];
    keep("pins", pins.all);
    tell("watch");
    return tell("trace", id);
  },
};
