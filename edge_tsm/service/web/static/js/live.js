// The tab Live: cameras, the strip, the newest events.

import { get, query } from "./api.js";
import { cams, render as renderCams, setLayout } from "./cams.js";
import { attribute, choice, empty, h, text } from "./dom.js";
import { showEvents } from "./eventlist.js";
import { openTab } from "./tabs.js";
import { on, state } from "./state.js";
import { strip } from "./strip.js";

const NEWEST = 12;
const list = h("ul", { class: "events" });
const none = empty("events", "No events yet", "They are listed here as soon as an action starts.");
const summary = h("p", { class: "summary", role: "status" });
let events = new Map();

const layout = choice("Layout", [["grid", "Grid"], ["large", "Large"]], localStorage.getItem("layout") ?? "grid", (name) => {
  localStorage.setItem("layout", name);
  setLayout(name);
});

export function build(panel) {
  setLayout(localStorage.getItem("layout") ?? "grid");
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

/** "All 4 cameras live", or how many are not. */
function summarize() {
  const all = state.cameras.length;
  const bad = state.cameras.filter((one) => BAD.includes(one.state)).length;
  const live = state.cameras.filter((one) => one.state === "live").length;
  const single = all === 1 ? state.cameras[0] : null;
  if (!all) text(summary, "No cameras");
  else if (bad) text(summary, all === 1 ? `${single.id} has a problem` : `${bad} of ${all} cameras ${bad === 1 ? "has" : "have"} a problem`);
  else if (live === all) text(summary, all === 1 ? `${single.id} is live` : `All ${all} cameras are live`);
  else text(summary, `${live} of ${all} cameras live`);
  attribute(summary, "data-tone", bad ? "bad" : live === all && all ? "good" : "idle");
  layout.hidden = all < 2;
}

on("event", ({ event }) => { events.set(event.id, event); renderEvents(); });
on("cameras camera", summarize);
on("version", renderEvents);

setInterval(() => {
  if (document.hidden || state.tab !== "live") return;
  renderCams();
  renderEvents();
}, 1000);
