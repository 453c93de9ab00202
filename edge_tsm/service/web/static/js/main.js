// Starts the page: signs in, loads what is, connects, and binds keys and buttons.

import { get, onUnauthorized, post } from "./api.js";
import { show, toggleSelected } from "./cams.js";
import { askToken, openHelp, toast } from "./dialog.js";
import { attribute, h, icon, text } from "./dom.js";
import { build as buildEvents } from "./events.js";
import { plural } from "./format.js";
import { build as buildHealth } from "./health.js";
import { build as buildLive, load as loadLive } from "./live.js";
import { load as loadRules, revert, trying } from "./operate.js";
import { camera, on, select, state, tell } from "./state.js";
import { Link } from "./socket.js";
import { shownClasses } from "./strip.js";
import { buildTabs, openTab } from "./tabs.js";
import { forget, pins, traceOf } from "./trace.js";
import { build as buildTune } from "./tune.js";

const MOST_SCORES = 24;
const element = (id) => document.getElementById(id);
const link = new Link(show);
let again_ms = null;

// --- signing in ----------------------------------------------------------------------------------

/** Exchanges the token of the address for a cookie; the address forgets it at once. */
async function useToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  await post("session", { token }).catch((error) => toast(error.message));
}

let asking = null;
onUnauthorized(() => signIn());

function signIn() {
  link.close();
  asking ??= askToken((token) => post("session", { token })).then(() => { asking = null; return start(); });
  return asking;
}

// --- loading -------------------------------------------------------------------------------------

async function loadCameras() {
  const { cameras, ...rest } = await get("cameras");
  Object.assign(state, rest);
  const before = new Map(state.cameras.map((one) => [one.id, one]));
  state.cameras = cameras.map((one) => ({ ...one, since_ms: performance.now() - (one.state_s ?? 0) * 1000, scores: before.get(one.id)?.scores }));
  if (!camera(state.selected)) state.selected = state.cameras[0]?.id ?? null;
  tell("cameras");
  tell("watch");
}

async function loadTrace() {
  if (!state.selected || traceOf(state.selected).loaded) return;
  await traceOf(state.selected).load(pins.of(state.selected));
}

/** Loads everything; what fails is told, and tried again with the next connection. */
async function load() {
  try {
    state.version = await get("version");
    attribute(element("readonly"), "hidden", !state.version.read_only);
    await loadCameras();
    await Promise.all([loadTrace(), loadLive(), loadRules(), loadStats()]);
    tell("version");
  } catch (error) {
    if (error.status !== 401) toast(error.message);
  }
}

async function loadStats() {
  tell("stats", { stats: await get("stats") });
}

async function start() {
  state.version = await get("version").catch(() => null);
  if (state.version?.auth === "token" && !state.version.signed_in) return signIn();
  return link.open();
}

// --- what the socket tells -----------------------------------------------------------------------

on("hello", () => {
  again_ms = null;
  forget();
  load();
});
on("disconnected", async (detail) => {
  again_ms = detail.again_ms;
  renderBanner();
  const version = await get("version").catch(() => null);
  if (version?.auth === "token" && !version.signed_in) signIn();
});
on("answer", ({ camera: id, scores, on: actions, action }) => {
  const one = camera(id);
  if (!one) return;
  one.scores = new Map(scores);
  one.action = action;
  one.actions = actions.map((index) => state.labels[index]);
  tell("camera", id);
});
on("event", ({ event }) => {
  if (event.duration_s !== null || !event.source) return;
  text(element("announce"), `${event.label} at ${event.source}`);
});
on("state", ({ state: change }) => {
  const one = camera(change.source);
  if (!one) return loadCameras().catch(() => {});
  Object.assign(one, { state: change.state, reason: change.reason, since_ms: performance.now() });
  if (change.state !== "live") Object.assign(one, { action: null, actions: [] });
  text(element("announce"), `${change.source}: ${change.state}`);
  return tell("camera", change.source);
});
on("enabled", ({ camera: id, enabled }) => {
  const one = camera(id);
  if (!one) return;
  one.enabled = enabled;
  text(element("announce"), `${id}: ${enabled ? "on" : "off"}`);
  tell("camera", id);
});
on("rules", renderBanner);
on("selected", () => loadTrace().catch(() => {}));

/** Asks for what is in sight: no pictures while the page is hidden, paused, or on another tab. */
function watch() {
  const looking = state.tab === "live" && !document.hidden && !state.paused;
  const ids = state.cameras.map(({ id }) => id);
  const pinned = Object.fromEntries(ids.map((id) => [id, [...new Set([...pins.of(id), ...(id === state.selected ? shownClasses() : [])])]]));
  link.ask({ pictures: looking ? ids : [], sees: looking ? ids.filter((id) => state.seeing.has(id)) : [], pinned, top: Math.min(state.labels.length, MOST_SCORES) });
}
on("watch", watch);
document.addEventListener("visibilitychange", watch);

// --- the banner, and what the keys do ------------------------------------------------------------

function renderBanner() {
  const banner = element("banner");
  const attempt = trying();
  banner.hidden = state.connected ? !attempt : again_ms === null;
  attribute(banner, "class", state.connected ? "banner try" : "banner");
  const kind = banner.hidden ? "" : state.connected ? "try" : "lost";
  if (banner.dataset.kind !== kind) banner.replaceChildren(...(kind ? parts(kind) : []));
  banner.dataset.kind = kind;
  if (!kind) return;
  const seconds = Math.ceil((again_ms - Date.now()) / 1000);
  const words = state.connected ? `Trying other rules: ${attempt.left} left` : `Connection lost. ${seconds > 0 ? `Trying again in ${seconds} s` : "Trying again…"}`;
  text(banner.firstElementChild, words);
}

function parts(kind) {
  const button = kind === "try"
    ? h("button", { class: "button compact", type: "button", onclick: revert }, "Revert")
    : h("button", { class: "button compact", type: "button", onclick: () => link.open() }, "Try now");
  return [h("span", {}), button];
}

function pause() {
  state.paused = !state.paused;
  const button = element("pause");
  attribute(button, "aria-pressed", String(state.paused));
  attribute(button, "aria-label", state.paused ? "Go on" : "Pause pictures");
  button.replaceChildren(icon(state.paused ? "play" : "pause"));
  tell("paused");
  watch();
}

const TYPED = "input, select, textarea, button, a, video, summary, [role=slider], dialog";

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.closest?.("input, select, textarea");
  if (event.key === "?" && !typing) openHelp(state.version);
  else if (event.key === " " && !event.target.closest?.(TYPED)) {
    event.preventDefault();
    pause();
  } else if (/^[1-9]$/.test(event.key) && !typing) select(state.cameras[Number(event.key) - 1]?.id);
  else if (event.key === "m" && !typing && state.tab === "live") toggleSelected();
}

document.addEventListener("keydown", key);
element("pause").addEventListener("click", pause);
element("theme").addEventListener("click", () => window.toggleTheme());
element("help").addEventListener("click", () => openHelp(state.version));
setInterval(renderBanner, 500);
on("cameras", () => text(element("device"), state.model ? `${state.model.name} · ${plural(state.cameras.length, "camera")}` : ""));

buildTabs();
buildLive(element("panel-live"));
buildEvents(element("panel-events"));
buildTune(element("panel-tune"));
buildHealth(element("panel-health"));
await useToken();
openTab(location.hash.slice(1) || "live");
start();
