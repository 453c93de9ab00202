// A list of events: what happened, when, the clip inline, and the thumbs.

import { put, remove } from "./api.js";
import { openDialog, toast } from "./dialog.js";
import { attribute, h, icon, reconcile, text } from "./dom.js";
import { counting, day, duration, localTime, percent, utcTime } from "./format.js";
import { markSwatch, swatch } from "./marks.js";
import { now_ms, state, tell, writable } from "./state.js";

/** Shows `events`, newest first; `days`: with a heading per day. */
export function showEvents(list, events, { days = false } = {}) {
  let last = null;
  const items = events.flatMap((event) => {
    const name = days && event.start_utc ? day(event.start_utc, now_ms()) : null;
    const heading = name && name !== last ? [{ heading: name }] : [];
    last = name ?? last;
    return [...heading, { event }];
  });
  reconcile(list, items, {
    key: (item) => item.heading ?? item.event.id,
    make: (item) => (item.heading ? h("li", { class: "day" }, h("h3", {}, item.heading)) : make(item.event)),
    update: (element, item) => item.event && update(element, item.event),
  });
}

function make({ id }) {
  const media = h("div", { class: "media", hidden: true, id: `media-${id}-${Math.random().toString(36).slice(2, 8)}` });
  const open = h("button", { class: "open", type: "button", "aria-expanded": "false", "aria-controls": media.id },
    h("span", { class: "thumb" }, icon("film")),
    h("span", { class: "what" },
      h("span", { class: "row" }, swatch(), h("b", { class: "clip-text label", dir: "auto" }), h("span", { class: "score" })),
      h("span", { class: "small muted clip-text about" }),
      h("span", { class: "small muted clip-text times" })));
  const thumbs = h("div", { class: "thumbs", role: "group" }, thumb("up", "Right"), thumb("down", "Wrong"));
  const note = h("p", { class: "note small", hidden: true });
  const element = h("li", { class: "event" }, h("div", { class: "row" }, open, thumbs), note, media);
  open.addEventListener("click", () => toggle(element));
  for (const button of thumbs.children) button.addEventListener("click", () => judge(element.event, button.dataset.verdict));
  return element;
}

const thumb = (verdict, word) => h("button", { class: "round", type: "button", "data-verdict": verdict, title: word }, icon(verdict));

function update(element, event) {
  element.event = event;
  const [, what] = element.querySelector(".open").children;
  markSwatch(what.querySelector(".swatch"), event.index);
  text(what.querySelector(".label"), event.label);
  attribute(what.querySelector(".label"), "title", event.label);
  text(what.querySelector(".score"), percent(event.score));
  text(what.querySelector(".about"), [lasted(event), event.source].filter(Boolean).join(" · "));
  text(what.querySelector(".times"), event.start_utc ? `${localTime(event.start_utc)} · ${utcTime(event.start_utc)}` : `at ${duration(event.start_s)} of the recording`);
  attribute(element, "data-on", event.duration_s === null);
  updateThumb(element.querySelector(".thumb"), event);
  updateThumbs(element, event);
  if (!element.querySelector(".media").hidden) fill(element);
}

function lasted(event) {
  if (event.duration_s !== null) return duration(event.duration_s);
  return event.start_utc ? `on for ${counting((now_ms() - Date.parse(event.start_utc)) / 1000)}` : "on now";
}

function updateThumb(box, { links }) {
  const address = links?.thumb ?? null;
  if (box.dataset.address === String(address)) return;
  box.dataset.address = String(address);
  if (!address) return box.replaceChildren(icon(links?.clip ? "play" : "film"));
  const image = h("img", { src: address, alt: "", loading: "lazy", decoding: "async", width: 96, height: 72 });
  image.addEventListener("error", () => box.replaceChildren(icon("film")));
  box.replaceChildren(image, links.clip ? h("span", { class: "badge" }, icon("play")) : "");
}

function updateThumbs(element, event) {
  const verdict = event.feedback?.verdict;
  for (const button of element.querySelectorAll(".thumbs button")) {
    const word = button.dataset.verdict === "up" ? "Right" : "Wrong";
    attribute(button, "aria-pressed", String(button.dataset.verdict === verdict));
    attribute(button, "aria-label", `${word}: ${event.label}, ${event.source ?? ""} ${event.start_utc ? localTime(event.start_utc) : ""}`);
    button.disabled = !writable();
    attribute(button, "title", writable() ? word : "Read only");
  }
  const note = element.querySelector(".note");
  note.hidden = verdict !== "down";
  text(note, event.feedback?.label ? `It was: ${event.feedback.label}` : "Marked as wrong");
}

function toggle(element) {
  const media = element.querySelector(".media");
  media.hidden = !media.hidden;
  attribute(element.querySelector(".open"), "aria-expanded", String(!media.hidden));
  if (media.hidden) {
    media.replaceChildren();
    delete media.dataset.address;
  } else fill(element);
}

function fill(element) {
  const media = element.querySelector(".media");
  const { clip, snapshot } = element.event.links ?? {};
  const address = String(clip ?? snapshot);
  if (media.dataset.address === address) return;
  media.dataset.address = address;
  media.replaceChildren(shownMedia(element.event, clip, snapshot));
}

function shownMedia(event, clip, snapshot) {
  const words = `${event.label}, ${event.source ?? ""}`;
  if (clip) {
    const video = h("video", { src: clip, controls: true, autoplay: true, playsinline: true, ".muted": true, poster: snapshot, "aria-label": `Clip: ${words}` });
    video.addEventListener("error", () => video.replaceWith(h("p", { class: "small muted" }, "This browser cannot play the clip. With PyAV installed on the device, clips are H.264.")), { once: true });
    return video;
  }
  if (snapshot) return h("img", { src: snapshot, alt: `Picture: ${words}` });
  return h("p", { class: "small muted" }, "No clip or picture of it was kept. The options --clips and --snapshots keep them.");
}

async function judge(event, verdict) {
  const path = `events/${encodeURIComponent(event.id)}/feedback`;
  try {
    if (event.feedback?.verdict === verdict) return judged(await remove(path));
    if (verdict === "up") return judged(await put(path, { verdict, label: null }));
    const label = await pickLabel(event);
    if (label !== null) judged(await put(path, { verdict, label: label || null }));
  } catch (error) {
    toast(error.message);
  }
}

const judged = (event) => tell("event", { event });

const MOST_LABELS = 200;

/** Asks what it really was: a label, "" for "none of these", null where the dialog was closed. */
function pickLabel(event) {
  return openDialog("What was it really?", (close) => {
    const list = h("ul", { class: "labels" });
    const fill = (part) => {
      const found = state.labels.filter((label) => label !== event.label && label.toLowerCase().includes(part.toLowerCase()));
      list.replaceChildren(...found.slice(0, MOST_LABELS).map((label) => h("li", {}, h("button", { class: "button", type: "button", onclick: () => close(label) }, h("span", { class: "clip-text", dir: "auto" }, label)))));
      if (found.length > MOST_LABELS) list.append(h("li", { class: "small muted wide" }, `${found.length - MOST_LABELS} more: write a part of the name.`));
      if (!found.length) list.append(h("li", { class: "small muted" }, "No such class."));
    };
    const search = h("input", { type: "text", id: "label-search", autocomplete: "off", oninput: () => fill(search.value) });
    fill("");
    return {
      body: [
        h("p", { class: "muted" }, "Told: ", h("b", { dir: "auto" }, event.label)),
        state.labels.length > 8 ? h("div", { class: "field" }, h("label", { for: "label-search" }, "Find a class"), search) : null,
        list,
      ].filter(Boolean),
      actions: [h("button", { class: "button", type: "button", onclick: () => close("") }, "None of these, or not sure")],
    };
  });
}
