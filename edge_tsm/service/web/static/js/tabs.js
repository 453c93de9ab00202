// The four tabs, by pointer, arrow keys, and the address (#events).

import { attribute } from "./dom.js";
import { state, tell } from "./state.js";

const NAMES = ["live", "events", "tune", "health"];
const tab = (name) => document.getElementById(`tab-${name}`);

export function openTab(name, { focus = false } = {}) {
  if (!NAMES.includes(name)) return;
  for (const one of NAMES) {
    attribute(tab(one), "aria-selected", String(one === name));
    attribute(tab(one), "tabindex", one === name ? null : "-1");
    document.getElementById(`panel-${one}`).hidden = one !== name;
  }
  if (focus) tab(name).focus();
  state.tab = name;
  history.replaceState(null, "", name === "live" ? location.pathname : `#${name}`);
  scrollTo(0, 0);
  tell("tab");
  tell("watch");
}

const MOVES = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export function buildTabs() {
  for (const name of NAMES) tab(name).addEventListener("click", () => openTab(name));
  document.getElementById("tabs").addEventListener("keydown", (event) => {
    const at = NAMES.indexOf(state.tab);
    const next = { Home: 0, End: NAMES.length - 1 }[event.key] ?? (MOVES[event.key] && (at + MOVES[event.key] + NAMES.length) % NAMES.length);
    if (next === undefined) return;
    event.preventDefault();
    openTab(NAMES[next], { focus: true });
  });
}
