// The tab Health: cameras, delays, sinks, the machine, and a report to copy.

import { getText } from "./api.js";
import { openDialog, toast } from "./dialog.js";
import { empty, h, icon } from "./dom.js";
import { condition, duration, megabytes } from "./format.js";
import { camera, on, state } from "./state.js";

const body = h("div", { class: "health" });
const copy = h("button", { class: "button", type: "button", onclick: report }, icon("copy"), "Copy report");
const uptime = h("p", { class: "muted small" });

export function build(panel) {
  panel.append(h("div", { class: "row wrap between headline" }, uptime, copy), body);
  render();
}

function render() {
  const { stats } = state;
  if (state.tab !== "health") return;
  copy.disabled = !stats;
  if (!stats) return body.replaceChildren(h("div", { class: "card" }, empty("health", "No figures yet", "They come every two seconds.")));
  uptime.textContent = `Up for ${duration(stats.uptime_s)}${state.version ? ` · edge-tsm ${state.version.version}` : ""}`;
  body.replaceChildren(cameras(stats), machine(stats.machine), delays(stats), sinks(stats), model(), page(stats.page));
}

function card(title, content, extra = "") {
  return h("section", { class: `card ${extra}`, "aria-label": title }, h("div", { class: "head" }, h("h2", {}, title)), h("div", { class: "body" }, content));
}

/** A table; `stacked`: on a phone each row is a block, so its roles are said, as the layout hides them. */
function table(name, columns, rows, stacked = false) {
  if (!rows.length) return h("p", { class: "muted small" }, "None.");
  const cells = (row) => row.map((cell, i) => (i ? h("td", { "data-name": columns[i], class: "figure-cell", role: "cell" }, cell) : h("th", { scope: "row", role: "rowheader" }, cell)));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name }, h("table", { role: "table", class: stacked ? "stacked" : null },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...columns.map((column, i) => h("th", { scope: "col", role: "columnheader", class: [i ? "figure-cell" : "", column === "State" ? "words" : ""].join(" ") }, column)))),
    h("tbody", { role: "rowgroup" }, ...rows.map((row) => h("tr", { role: "row" }, ...cells(row))))));
}

function cameras({ sources }) {
  const rows = sources.map((one) => {
    const is_off = camera(one.source)?.enabled === false;
    const { words, tone } = is_off ? { words: "off", tone: "idle" } : condition(one.state, one.state_s ?? 0);
    return [
      h("span", { class: "stack tight" }, h("b", {}, one.source), h("span", { class: "small muted address" }, one.address ?? "")),
      h("span", { class: `pill ${tone}` }, words),
      one.frames_per_s.toFixed(1), one.answers_per_s.toFixed(1), late(one.latency),
      count(one.dropped), count(one.skipped), count(one.breaks),
    ];
  });
  return card("Cameras", table("Cameras", ["Camera", "State", "Frames/s", "Answers/s", "Delay p50/p95", "Dropped", "Skipped", "Breaks"], rows, true), "full");
}

/** Median and 95th percentile of the time from picture to answer. */
const late = (latency) => (latency ? `${latency.p50_ms.toFixed(0)} / ${latency.p95_ms.toFixed(0)} ms` : "–");

const count = (value) => (value ?? 0).toLocaleString("en-US");

function delays({ stages }) {
  const names = { latency: "Picture to answer", prepare: "Prepare", queue: "Queue", inference: "Inference" };
  const rows = Object.entries(names).filter(([name]) => stages[name]).map(([name, words]) => [words, `${stages[name].p50_ms.toFixed(0)} ms`, `${stages[name].p95_ms.toFixed(0)} ms`]);
  return card("Delays", table("Delays", ["Stage", "Median", "95%"], rows));
}

function sinks({ sinks: all }) {
  const rows = all.map((one) => [one.name, count(one.delivered), count(one.pending), h("span", { class: one.dropped || one.failed ? "bad" : null }, count((one.dropped ?? 0) + (one.failed ?? 0)))]);
  return card("Sinks", table("Sinks", ["Sink", "Delivered", "To deliver", "Lost"], rows));
}

function machine(one) {
  const used_mb = one.memory_total_mb - one.memory_free_mb;
  return card("Machine", h("div", { class: "stack" },
    meter("Processor", one.cpu_percent / (100 * one.cores), `${(one.cpu_percent / 100).toFixed(2)} of ${one.cores} cores · load ${one.load_1.toFixed(1)}`),
    meter("Memory", used_mb / one.memory_total_mb, `${megabytes(one.memory_mb)} here · ${megabytes(one.memory_free_mb)} of ${megabytes(one.memory_total_mb)} free`),
    ...disks(one.disks ?? []).map((disk) => meter(`Disk of ${disk.what}`, 1 - disk.free_mb / disk.total_mb, `${megabytes(disk.free_mb)} of ${megabytes(disk.total_mb)} free`)),
    one.temperature_c === null || one.temperature_c === undefined ? h("p", { class: "small muted" }, "Temperature: not told by this machine") : meter("Temperature", one.temperature_c / 100, `${one.temperature_c.toFixed(0)} °C`)));
}

/** What lies on one disk is told once. */
function disks(all) {
  const found = new Map();
  for (const disk of all) {
    const key = `${disk.total_mb} ${disk.free_mb}`;
    found.set(key, { ...disk, what: [found.get(key)?.what, disk.what].filter(Boolean).join(", ") });
  }
  return [...found.values()];
}

function meter(name, share, words) {
  const full = Math.min(1, Math.max(0, share));
  const fill = h("span", { class: full > 0.95 ? "over" : full > 0.85 ? "high" : "" });
  fill.style.width = `${full * 100}%`;
  return h("div", { class: "meter" }, h("div", { class: "row between wrap" }, h("span", {}, name), h("span", { class: "small muted" }, words)), h("div", { class: "track", "aria-hidden": "true" }, fill));
}

function facts(pairs) {
  return h("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));
}

function model() {
  const one = state.model;
  if (!one) return card("Model", h("p", { class: "muted small" }, "Not known yet."));
  return card("Model", facts([["Name", one.name], ["File", one.file ?? "–"], ["Engine", `${one.engine}, ${one.device}`], ["Classes", state.labels.length], ["Window", `${one.window_s} s, ${one.segments} frames`], ["Answer every", `${one.every_s} s`]]));
}

function page(one) {
  if (!one) return "";
  return card("This page", facts([["Viewers", one.viewers], ["Pictures encoded", count(one.encodes)], ["Pictures sent", count(one.pictures_sent)], ["Left out", count(one.pictures_skipped)], ["Time to encode", `${one.encode_ms.toFixed(1)} ms`]]));
}

async function report() {
  try {
    const words = await getText("report");
    if (await copied(words)) toast("The report is copied. Addresses and secrets are left out of it.");
    else showReport(words);
  } catch (error) {
    toast(error.message);
  }
}

/** Copies text where the browser lets pages do so: on this machine and with TLS. */
async function copied(words) {
  try {
    await navigator.clipboard.writeText(words);
    return true;
  } catch {
    return false;
  }
}

function showReport(words) {
  const area = h("textarea", { rows: 14, readonly: true, "aria-label": "Report", class: "mono" }, words);
  area.addEventListener("focus", () => area.select());
  openDialog("Report", () => ({ body: [h("p", { class: "muted small" }, "Select and copy it."), area] }), { wide: true });
}

on("stats tab version cameras", render);
