// The tab Live: cameras, the strip, the newest events.

import { get, query } from "./api.js";
import { cams, render as renderCams, setLayout, told } from "./cams.js";
import { attribute, choice, empty, h, text } from "./dom.js";
import { showEvents } from "./eventlist.js";
import { keep, kept } from "./kept.js";
import { openTab } from "./tabs.js";
import { on, state } from "./state.js";
import { strip } from "./strip.js";

const NEWEST = 12;
const list = h("ul", { class: "events" });
const none = empty("events", "No events yet", "They are listed here as soon as an action starts.");
const summary = h("p", { class: "summary", role: "status" });
let events = new Map();

const layout = choice("Layout", [["grid", "Grid"], ["large", "Large"]], kept("layout", "grid"), (name) => {
  keep("layout", name);
  setLayout(name);
});

export function build(panel) {
  setLayout(kept("layout", "grid"));
  panel.append(
    h("div", { class: "stage" }, h("div", { class: "row headline" }, summary, layout), cams),
    h("div", { class: "side" }, strip,
      h("article", { class: "card", "aria-label": "Newest events" },
        h("div", { class: "head" }, h("h2", { class: "grow" }, "Newest events"), h("button", { class: "link small", type: "button", onclick: () => openTab("events") }, "All events")),
        h("div", { class: "body" }, none, list))),
  );
}

/** Loads the newest events. */
export async function load() {
  const answer = await get(query("events", { limit: NEWEST }));
  events = new Map(answer.events.map((event) => [event.id, event]));
  renderEvents();
}

function renderEvents() {
  const newest = [...events.values()].sort((one, other) => (one.id < other.id ? 1 : -1)).slice(0, NEWEST);
  events = new Map(newest.map((event) => [event.id, event]));
  none.hidden = newest.length > 0;
  showEvents(list, newest);
}

const BAD = ["lost", "silent", "frozen", "black"];

/** "All 4 cameras are live", "porch: lost 12 s", or how many have a problem. */
function summarize() {
  const all = state.cameras.length;
  const asked = state.cameras.filter((one) => one.enabled);
  const wrong = asked.filter((one) => BAD.includes(one.state));
  const live = asked.filter((one) => one.state === "live").length;
  const [bad, off] = [wrong.length, all - asked.length];
  if (!state.connected) text(summary, "Not connected");
  else if (!all) text(summary, "No cameras");
  else if (bad === 1) text(summary, `${wrong[0].id}: ${told(wrong[0]).words}`);
  else if (bad) text(summary, `${bad} of ${all} cameras have a problem`);
  else if (live && live === asked.length) text(summary, all === 1 ? `${asked[0].id} is live` : `${off ? live : `All ${all}`} cameras are live${off ? `, ${off} off` : ""}`);
  else text(summary, `${live} of ${all} cameras live`);
  attribute(summary, "data-tone", !state.connected ? "idle" : bad ? "bad" : live && live === asked.length ? "good" : "idle");
  document.title = bad ? `(${bad}) edge-tsm` : "edge-tsm";
  layout.hidden = all < 2;
}

on("event", ({ event }) => { events.set(event.id, event); renderEvents(); });
on("cameras camera disconnected hello", summarize);
on("version", renderEvents);

setInterval(() => {
  if (document.hidden || state.tab !== "live") return;
  renderCams();
  renderEvents();
  summarize();
}, 1000);
