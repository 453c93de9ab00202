// The tab Tune: thresholds and durations, decided again on what was seen before they are tried or saved.

import { post } from "./api.js";
import { attribute, choice, empty, h, icon, text } from "./dom.js";
import { changed, changesOf, discard, pairOf, setNumber, setPair, setThreshold, valueOf } from "./draft.js";
import { duration, plural } from "./format.js";
import { attempt, save, undo } from "./operate.js";
import { draw, plot, ready, scope, seen, show } from "./plot.js";
import { assignMarks, markSwatch, swatch } from "./marks.js";
import { now_ms, on, scopeOf, state, writable } from "./state.js";
import { traceOf } from "./trace.js";

const FRESH_MS = 10_000; // the answers that a preview is made of are read again so often
const ORIGINS = {
  default: "default", preset: "preset", bundle: "from the bundle", rules: "rules file", config: "config file",
  option: "command line", page: "saved here", trying: "being tried",
};

// --- the fields ----------------------------------------------------------------------------------

function number(id, words, { step, unit, max = null, read, write, origin }) {
  const input = h("input", { type: "number", id, min: 0, max, step, inputmode: "decimal", "aria-describedby": `${id}-from` });
  const from = h("span", { class: "from", id: `${id}-from` });
  input.addEventListener("change", () => {
    const value = Number(input.value);
    if (input.value !== "" && input.checkValidity()) write(value);
    else render();
  });
  const element = h("div", { class: "field" }, h("label", { for: id }, words), h("div", { class: "unit" }, input, h("span", { class: "muted small" }, unit)), from);
  const update = () => {
    if (document.activeElement !== input || input.value === "") input.value = String(read());
    text(from, origin());
  };
  return { element, update };
}

function fromOf(name) {
  const value = scope().values[name];
  if (name in changesOf(scope()) && !scope().trying) return `changed; now ${shown(name, value.value)}`;
  return told(value);
}

const shown = (name, value) => (name === "on" || name === "off" ? `${show(value)}%` : String(value));
const told = ({ origin, where }) => [ORIGINS[origin] ?? origin, where].filter(Boolean).join(": ");

function fromOfPair(part) {
  if (!seen.label) return fromOf(part);
  if (seen.label in (changesOf(scope()).thresholds ?? {})) return "changed for this class";
  const own = scope().values.thresholds[seen.label];
  return own ? `this class's own; ${told(own)}` : `as all classes; ${told(scope().values[part])}`;
}

const threshold = (part, words) => number(`tune-${part}`, words, {
  step: "any", max: 100, unit: "%", read: () => show(pairOf(scope(), seen.label)[part]),
  write: (value) => setThreshold(scope(), seen.label, part, Math.round(value * 10) / 1000), origin: () => fromOfPair(part),
});
const seconds = (name, words) => number(`tune-${name}`, words, {
  step: "any", unit: "s", read: () => valueOf(scope(), name), write: (value) => setNumber(scope(), name, value), origin: () => fromOf(name),
});

const fields = {
  on: threshold("on", "Starts at (on)"),
  off: threshold("off", "Ends below (off)"),
  mean_answers: number("tune-mean_answers", "Mean over answers", {
    step: 1, unit: "", read: () => valueOf(scope(), "mean_answers"), write: (value) => setNumber(scope(), "mean_answers", Math.max(1, value)), origin: () => fromOf("mean_answers"),
  }),
  decay_s: seconds("decay_s", "Or exponential mean"),
  min_duration_s: seconds("min_duration_s", "Shortest action"),
  cool_down_s: seconds("cool_down_s", "Cool-down"),
};

// --- the page ------------------------------------------------------------------------------------

const cameraBox = h("select", { id: "tune-camera", onchange: () => look(cameraBox.value) });
const labelBox = h("select", { id: "tune-label", onchange: () => { seen.label = labelBox.value; refresh(); } });
const verdict = h("p", { class: "verdict", role: "status" });
const legend = h("ul", { class: "legend plain", "aria-label": "Lines" });
const evidence = h("p", { class: "small muted" });
const holds = h("p", { class: "small muted" });
const general = h("button", { class: "link small", type: "button", onclick: () => setPair(scope(), seen.label, null) }, "As all classes");
const fixed = h("dl", { class: "facts" });
const reason = h("p", { class: "small muted" });
const whose = choice("Change the rules of", [["", ""], ["alone", ""]], "", (chosen) => { seen.alone = Boolean(chosen); refresh(); });
const buttons = {
  discard: h("button", { class: "button", type: "button", onclick: () => discard(scope()) }, "Discard"),
  undo: h("button", { class: "button", type: "button", onclick: undo, title: "Undo last save", "aria-label": "Undo last save" }, icon("undo"), h("span", {}, "Undo last save")),
  attempt: h("button", { class: "button", type: "button", onclick: () => attempt(scope()) }, "Try 10 min"),
  save: h("button", { class: "button main", type: "button", onclick: () => save(scope()) }, "Save…"),
};
const content = h("div", { class: "tune" },
  h("div", { class: "card" },
    h("div", { class: "body stack" },
      h("div", { class: "filters two" },
        h("div", { class: "field" }, h("label", { for: "tune-camera" }, "Camera"), cameraBox),
        h("div", { class: "field" }, h("label", { for: "tune-label" }, "Class"), labelBox)),
      h("div", { class: "row wrap" }, whose, holds),
      verdict,
      plot,
      legend,
      h("div", { class: "row wrap between" }, evidence, choice("Time span", [[1 / 6, "10 min"], [1, "1 h"], [6, "6 h"]], 1, (chosen) => { seen.hours = Number(chosen); refresh(); })))),
  h("div", { class: "stack" },
    h("section", { class: "card", "aria-label": "Thresholds" }, h("div", { class: "head" }, h("h2", { class: "grow" }, "Thresholds"), general),
      h("div", { class: "body filters two" }, fields.on.element, fields.off.element)),
    h("section", { class: "card", "aria-label": "Smoothing" }, h("div", { class: "head" }, h("h2", {}, "Smoothing")),
      h("div", { class: "body filters two" }, fields.mean_answers.element, fields.decay_s.element)),
    h("section", { class: "card", "aria-label": "Durations" }, h("div", { class: "head" }, h("h2", {}, "Durations")),
      h("div", { class: "body filters two" }, fields.min_duration_s.element, fields.cool_down_s.element)),
    h("details", { class: "card" }, h("summary", {}, "Also in force"), h("div", { class: "body" }, fixed)),
    reason),
  h("div", { class: "card actions-bar" }, buttons.undo, h("span", { class: "grow" }), buttons.discard, buttons.attempt, buttons.save));
const nothing = empty("tune", "No rules to tune", "Start the run with --actions or --rules: then its answers become events, and this page tunes them.");

export function build(panel) {
  panel.append(nothing, content);
  render();
}

/** Shows the rules of a camera. */
function look(camera) {
  Object.assign(seen, { camera, alone: false });
  refresh();
}

function render() {
  if (seen.camera === null || !state.cameras.some(({ id }) => id === seen.camera)) Object.assign(seen, { camera: state.selected, alone: false });
  const usable = Boolean(ready());
  nothing.hidden = usable;
  content.hidden = !usable;
  if (!usable) return;
  fillSelects();
  for (const field of Object.values(fields)) field.update();
  renderFixed();
  renderButtons();
  renderWhose();
  general.hidden = !seen.label || !pairOf(scope(), seen.label).own;
  draw();
}

/** Whose rules are changed: where a camera has none of its own, the viewer chooses. */
function renderWhose() {
  const shared = scopeOf(seen.camera);
  whose.hidden = shared.camera !== null || state.cameras.length < 2;
  const words = shared.cameras.length === state.cameras.length ? `All ${plural(shared.cameras.length, "camera")}` : `${plural(shared.cameras.length, "camera")} without their own`;
  text(whose.children[0], words);
  attribute(whose.children[0], "title", shared.cameras.join(", "));
  text(whose.children[1], `Only ${seen.camera}`);
  whose.press(seen.alone ? "alone" : "");
  if (shared.camera !== null) text(holds, `These rules are ${shared.camera}'s own.`);
  else if (seen.alone) text(holds, "What you change becomes this camera's own; the rest stays as for all.");
  else text(holds, state.cameras.length < 2 ? "" : `These rules hold for ${listed(shared.cameras)}.`);
}

const NAMED = 4;

/** "porch, hall and 3 more" */
function listed(names) {
  const left = names.length - NAMED;
  return left > 1 ? `${names.slice(0, NAMED).join(", ")} and ${left} more` : names.join(", ");
}

function fillSelects() {
  options(cameraBox, state.cameras.map(({ id }) => [id, id]), seen.camera);
  const silent = new Set(["background", "ignored", "held"].flatMap((name) => scope().values[name].value));
  const own = (name) => (pairOf(scope(), name).own ? " (own)" : "");
  options(labelBox, [["", "All classes"], ...state.labels.filter((name) => !silent.has(name)).map((name) => [name, `${name}${own(name)}`])], seen.label);
  seen.label = labelBox.value;
}

function options(box, pairs, chosen) {
  const key = JSON.stringify(pairs);
  if (box.dataset.options !== key) box.replaceChildren(...pairs.map(([value, words]) => h("option", { value }, words)));
  box.dataset.options = key;
  box.value = chosen;
  if (box.selectedIndex < 0) box.selectedIndex = 0;
}

const FIXED = { background: "Mean nothing", ignored: "Left out", held: "Change nothing", settle_answers: "Settle, answers", gap_s: "Fresh start after, s" };

function renderFixed() {
  fixed.replaceChildren(...Object.entries(FIXED).flatMap(([name, words]) => {
    const { value, ...rest } = scope().values[name];
    const list = Array.isArray(value) ? value.join(", ") || "none" : String(value);
    return [h("dt", {}, words), h("dd", {}, list, h("span", { class: "from" }, told(rest)))];
  }));
}

function renderButtons() {
  const { target, history } = state.rules;
  const some = changed(scope());
  buttons.discard.disabled = !some;
  buttons.attempt.disabled = !some || !writable();
  const kept = target.writable && (scope().camera === null || target.cameras.includes(scope().camera));
  buttons.save.disabled = !some || !writable() || !kept;
  buttons.undo.disabled = !history || !writable();
  if (!writable()) text(reason, "Read only: nothing can be tried or saved here.");
  else if (!target.writable) text(reason, `Cannot be saved: ${target.reason}`);
  else if (!kept) text(reason, `Rules of ${scope().camera} alone can be tried, and saved where the run has a file for them: start it with --config FILE that has [sources.${scope().camera}].`);
  else text(reason, `Save writes to ${target.file}.`);
}

// --- what it would have changed ------------------------------------------------------------------

let asking = false;
let moved = false;
let asked_ms = 0;

/** The classes whose lines are drawn: the chosen one, or those with most events. */
function drawnLabels() {
  if (seen.label) return [seen.label];
  const counts = new Map(traceOf(seen.camera).best(0, 3).map((index) => [state.labels[index], 0]));
  for (const ghost of seen.preview?.cameras.find((one) => one.camera === seen.camera)?.before ?? []) counts.set(ghost.label, (counts.get(ghost.label) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1]).slice(0, 3).map(([name]) => name);
}

/** Asks for a new preview; one at a time, and once more where something moved meanwhile. */
async function refresh() {
  render();
  if (!ready() || state.tab !== "tune") return;
  moved = true;
  if (asking) return;
  asking = true;
  while (moved) {
    moved = false;
    await ask();
  }
  asking = false;
}

async function ask() {
  asked_ms = Date.now();
  const wanted = { camera: scope().camera, changes: changesOf(scope()), hours: seen.hours, labels: drawnLabels() };
  try {
    const answer = await post("rules/preview", wanted);
    seen.preview = answer;
    assignMarks(wanted.labels.map((name) => state.labels.indexOf(name)));
    renderVerdict();
    renderLegend(wanted.labels);
  } catch (error) {
    text(verdict, error.message);
  }
  draw();
}

function renderLegend(labels) {
  legend.replaceChildren(...labels.map((name) => {
    const mark = swatch({ wide: true });
    markSwatch(mark, state.labels.indexOf(name));
    return h("li", { class: "row small" }, mark, h("bdi", { class: "clip-text" }, name));
  }));
}

function renderVerdict() {
  const { before, after, lost_up, lost_down, answers, since_utc, took_ms } = seen.preview;
  const lost = lost_up ? `${lost_up} of your thumbs-up would be lost` : "";
  const gone = lost_down ? `${lost_down} of your thumbs-down would go` : "";
  verdict.replaceChildren(
    h("b", { class: "figure", "data-before": before, "data-after": after }, changed(scope()) ? `${before} → ${after} events` : plural(before, "event")),
    changed(scope()) && state.cameras.length > 1 ? h("span", { class: "muted small" }, "at all cameras") : "",
    lost ? h("span", { class: "pill bad" }, lost) : "",
    gone ? h("span", { class: "pill good" }, gone) : "",
    changed(scope()) ? "" : h("span", { class: "muted small" }, "Move a line to see what would change."));
  text(evidence, answers ? `Decided again on ${plural(answers, "answer")} of the last ${duration((now_ms() - Date.parse(since_utc)) / 1000)} in ${Math.max(1, Math.round(took_ms))} ms.` : "No stored answers yet: there are some as soon as the run has answered for a while.");
}

on("rules draft", refresh);
on("cameras version", render);
on("no rules", render);
on("selected", () => { Object.assign(seen, { camera: state.selected, alone: false }); render(); });
on("tab", () => state.tab === "tune" && refresh());
on("event", () => state.tab === "tune" && Date.now() - asked_ms > FRESH_MS && refresh());
on("trace", (id) => state.tab === "tune" && id === seen.camera && draw());
