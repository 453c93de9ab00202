// The tab Events: everything that happened, filtered.

import { get, query } from "./api.js";
import { empty, h, text } from "./dom.js";
import { showEvents } from "./eventlist.js";
import { plural } from "./format.js";
import { now_ms, on, state } from "./state.js";

const PAGE = 50;
const SPANS = [["", "All time"], ["1", "Last hour"], ["24", "Last 24 hours"], ["168", "Last 7 days"]];
const VERDICTS = [["", "All"], ["none", "Not judged"], ["up", "Thumb up"], ["down", "Thumb down"]];

const list = h("ul", { class: "events wide" });
const none = empty("events", "", "");
const count = h("p", { class: "muted small", role: "status" });
const more = h("button", { class: "button", type: "button", hidden: true, onclick: () => load({ further: true }) }, "Show older");
const filters = {};
let events = [];
let next = null;
let stale = true;
let asked = 0;

function filter(name, label, options) {
  const id = `filter-${name}`;
  filters[name] = h("select", { id, onchange: () => load() });
  fill(filters[name], options);
  return h("div", { class: "field" }, h("label", { for: id }, label), filters[name]);
}

function fill(box, options) {
  const chosen = box.value;
  box.replaceChildren(...options.map(([value, words]) => h("option", { value }, words)));
  if (options.some(([value]) => value === chosen)) box.value = chosen;
}

export function build(panel) {
  panel.append(
    h("div", { class: "card" }, h("div", { class: "body filters" },
      filter("camera", "Camera", [["", "All cameras"]]),
      filter("label", "Class", [["", "All classes"]]),
      filter("hours", "Time", SPANS),
      filter("verdict", "Your thumbs", VERDICTS))),
    h("div", { class: "row between" }, count),
    none, list, h("div", { class: "row center" }, more),
  );
}

const wanted = () => ({
  camera: filters.camera.value,
  label: filters.label.value,
  verdict: filters.verdict.value,
  since: filters.hours.value && new Date(now_ms() - filters.hours.value * 3_600_000).toISOString(),
});

async function load({ further = false } = {}) {
  const number = (asked += 1);
  stale = false;
  more.disabled = true;
  try {
    const answer = await get(query("events", { ...wanted(), before: further ? next : "", limit: PAGE }));
    if (number !== asked) return;
    events = further ? [...events, ...answer.events] : answer.events;
    next = answer.next;
    render(answer.total);
  } catch (error) {
    stale = true;
    text(count, error.message);
  } finally {
    more.disabled = false;
  }
}

function render(total) {
  if (total !== undefined) text(count, plural(total, "event"));
  none.hidden = events.length > 0;
  const filtered = Object.values(filters).some((box) => box.value);
  text(none.querySelector("strong"), filtered ? "Nothing here" : "No events yet");
  text(none.querySelector("p"), filtered ? "No event matches. Other filters may show more." : "They are listed here as soon as an action starts.");
  more.hidden = !next;
  showEvents(list, events, { days: true });
}

function take(event) {
  const at = events.findIndex(({ id }) => id === event.id);
  if (at >= 0) {
    events[at] = event;
    if (state.tab === "events") render();
  } else if (state.tab === "events" && !next) load();
  else stale = true;
}

on("cameras", () => {
  fill(filters.camera, [["", "All cameras"], ...state.cameras.map(({ id }) => [id, id])]);
  fill(filters.label, [["", "All classes"], ...state.labels.map((label) => [label, label])]);
});
on("event", ({ event }) => take(event));
on("hello", () => { stale = true; });
on("tab hello", () => state.tab === "events" && stale && load());
on("version", () => render());
