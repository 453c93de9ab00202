// The cameras: one card each, with its picture, its state in words, and what it sees happen.

import { color, fitted, FONT, Surface } from "./canvas.js";
import { attribute, empty, h, icon, reconcile, text } from "./dom.js";
import { condition, percent } from "./format.js";
import { inkOf, paintMark } from "./marks.js";
import { camera, on, select, state, tell } from "./state.js";

const cards = new Map(); // id -> Card
const element = h("div", { class: "cams", id: "cams" });

/** The newest picture of each kind, and the canvases that show them. */
class Card {
  constructor({ id }) {
    this.id = id;
    this.latest = { picture: null, sees: null };
    this.canvas = h("canvas", { class: "picture", role: "img", "data-shown": 0 });
    this.film = h("canvas", { class: "film", role: "img", hidden: true });
    this.number = h("span", { class: "number", "aria-hidden": "true" });
    this.name = h("button", { class: "name", type: "button", onclick: () => select(id) }, h("span", { class: "clip-text" }, id));
    this.pill = h("span", { class: "pill" });
    this.eye = h(
      "button",
      { class: "round eye", type: "button", title: "What the model sees (m)", "aria-label": `What the model sees of ${id}`, onclick: () => toggleSees(id) },
      icon("eye"),
    );
    this.element = h(
      "article",
      { class: "card cam" },
      h("div", { class: "screen" }, this.canvas),
      this.film,
      h("div", { class: "foot" }, this.number, this.name, this.pill, this.eye),
    );
    this.surfaces = {
      picture: new Surface(this.canvas, (...area) => paintPicture(this, ...area)),
      sees: new Surface(this.film, (...area) => paintFilm(this, ...area)),
    };
  }

  show(kind, picture) {
    this.latest[kind]?.bitmap.close();
    this.latest[kind] = picture;
    if (kind === "sees") this.#shape(picture.facts);
    this.surfaces[kind].now();
    if (kind === "picture") this.canvas.dataset.shown = String(Number(this.canvas.dataset.shown) + 1);
  }

  #shape({ count, width, height }) {
    const columns = columnsFor(count, this.film.clientWidth);
    const ratio = `${columns * width} / ${Math.ceil(count / columns) * height}`;
    if (this.film.style.aspectRatio !== ratio) this.film.style.aspectRatio = ratio;
  }

  update(one, index) {
    const { words, tone } = told(one);
    const seeing = state.seeing.has(one.id);
    text(this.pill, words);
    attribute(this.pill, "class", `pill ${tone}`);
    attribute(this.pill, "title", one.reason || null);
    text(this.number, index < 9 ? String(index + 1) : "");
    attribute(this.name, "aria-label", [`${one.id}: ${words}`, ...one.actions].join(", "));
    attribute(this.name, "aria-pressed", String(one.id === state.selected));
    attribute(this.element, "data-selected", one.id === state.selected);
    attribute(this.element, "data-tone", tone);
    attribute(this.eye, "aria-pressed", String(seeing));
    attribute(this.canvas, "aria-label", [`Picture of ${one.id}`, ...one.actions].join(", "));
    attribute(this.film, "aria-label", `The frames that the model sees of ${one.id}`);
    this.film.hidden = !seeing;
    this.surfaces.picture.draw();
  }
}

/** How a camera is; nobody knows while there is no connection. */
export function told(one) {
  if (!state.connected) return { words: "unknown", tone: "idle" };
  if (!one.enabled) return { words: "off", tone: "idle" };
  return condition(one.state, (performance.now() - one.since_ms) / 1000);
}

const columnsFor = (count, width) => Math.min(count, width < 520 ? 4 : 8);

function toggleSees(id) {
  if (!state.seeing.delete(id)) state.seeing.add(id);
  tell("watch");
  render();
}

/** Shows or hides what the model sees of the selected camera. */
export const toggleSelected = () => state.selected && toggleSees(state.selected);

/** Draws a picture of the socket. */
export function show(kind, id, picture) {
  const card = cards.get(id);
  if (card && !state.paused) card.show(kind, picture);
  else picture.bitmap.close();
}

// --- painting ------------------------------------------------------------------------------------

function paintPicture(card, context, width, height) {
  const one = camera(card.id);
  if (!one) return;
  const bitmap = card.latest.picture?.bitmap;
  context.fillStyle = "#0b0d11";
  context.fillRect(0, 0, width, height);
  if (!bitmap) return paintWords(context, width, height, waiting(one));
  const area = contained(bitmap, width, height);
  context.globalAlpha = one.state === "live" && state.connected ? 1 : 0.4;
  context.drawImage(bitmap, area.x, area.y, area.width, area.height);
  context.globalAlpha = 1;
  if (state.seeing.has(one.id) && one.sees) paintCrop(context, area, one.sees);
  if (state.paused) paintWords(context, width, height, "paused");
  else if (one.state === "live" && state.connected) paintActions(context, width, height, one);
  else paintWords(context, width, height, told(one).words);
}

function waiting(one) {
  if (one.state !== "live" || !state.connected) return told(one).words;
  return state.paused ? "paused" : "no picture yet";
}

function contained(bitmap, width, height) {
  const scale = Math.min(width / bitmap.width, height / bitmap.height);
  const [wide, high] = [bitmap.width * scale, bitmap.height * scale];
  return { x: (width - wide) / 2, y: (height - high) / 2, width: wide, height: high };
}

function paintWords(context, width, height, words) {
  const small = width < 160;
  context.font = `600 ${small ? 11.5 : 16}px ${FONT}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  const shown = fitted(context, words, width - (small ? 10 : 28));
  const wide = context.measureText(shown).width + (small ? 10 : 28);
  context.fillStyle = "rgb(11 13 17 / 75%)";
  context.beginPath();
  context.roundRect((width - wide) / 2, height / 2 - (small ? 10 : 16), wide, small ? 20 : 32, small ? 10 : 16);
  context.fill();
  context.fillStyle = "#ffffff";
  context.fillText(shown, width / 2, height / 2 + 1);
}

function paintCrop(context, area, [left, top, wide, high]) {
  const [x, y] = [area.x + left * area.width, area.y + top * area.height];
  context.fillStyle = "rgb(0 0 0 / 45%)";
  context.beginPath();
  context.rect(area.x, area.y, area.width, area.height);
  context.rect(x, y, wide * area.width, high * area.height);
  context.fill("evenodd");
  context.strokeStyle = "#ffffff";
  context.lineWidth = 2;
  context.setLineDash([6, 5]);
  context.strokeRect(x + 1, y + 1, wide * area.width - 2, high * area.height - 2);
  context.setLineDash([]);
}

/** The actions that are on, at the bottom left; small pictures have room for one. */
function paintActions(context, width, height, one) {
  const small = width < 200;
  const high = small ? 20 : 32;
  const most = small ? 1 : 3;
  context.font = `600 ${small ? 12 : 16}px ${FONT}`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  const margin = small ? 4 : 10;
  one.actions.slice(0, most).forEach((label, row) => {
    const index = state.labels.indexOf(label);
    const score = one.scores?.get(index);
    const shown = fitted(context, label, width - 2 * margin - (small ? 24 : 84));
    const tail = small || score === undefined ? "" : percent(score);
    const wide = context.measureText(shown).width + (tail ? context.measureText(tail).width + 10 : 0) + (small ? 22 : 36);
    const y = height - margin - high - row * (high + 4);
    context.fillStyle = "rgb(11 13 17 / 82%)";
    context.beginPath();
    context.roundRect(margin, y, wide, high, high / 2);
    context.fill();
    // On white, as the colors of the light theme are dark.
    paintMark(context, index, { x: margin + high / 2, y: y + high / 2, radius: small ? 3.5 : 4.5, ink: color(inkOf(index)), ground: "#ffffff" });
    context.fillStyle = "#ffffff";
    context.fillText(shown, margin + high / 2 + (small ? 8 : 11), y + high / 2 + 1);
    context.fillStyle = "rgb(255 255 255 / 75%)";
    if (tail) context.fillText(tail, margin + wide - 14 - context.measureText(tail).width, y + high / 2 + 1);
  });
}

function paintFilm(card, context, width, height) {
  if (!card.latest.sees) return;
  const { bitmap, facts } = card.latest.sees;
  const columns = columnsFor(facts.count, width);
  const rows = Math.ceil(facts.count / columns);
  const across = facts.columns;
  const [wide, high] = [width / columns, height / rows];
  context.textBaseline = "alphabetic";
  context.textAlign = "left";
  context.font = `600 11px ${FONT}`;
  for (let i = 0; i < facts.count; i += 1) {
    const [x, y] = [(i % columns) * wide, Math.floor(i / columns) * high];
    const [from_x, from_y] = [(i % across) * facts.width, Math.floor(i / across) * facts.height];
    context.drawImage(bitmap, from_x, from_y, facts.width, facts.height, x + 1, y + 1, wide - 2, high - 2);
    const age = facts.ages_s[i] < 0.05 ? "now" : `−${facts.ages_s[i].toFixed(1)} s`;
    context.fillStyle = "rgb(11 13 17 / 75%)";
    context.beginPath();
    context.roundRect(x + 4, y + high - 21, context.measureText(age).width + 10, 17, 5);
    context.fill();
    context.fillStyle = "#ffffff";
    context.fillText(age, x + 9, y + high - 8.5);
  }
}

// --- the grid ------------------------------------------------------------------------------------

/** The grid of all cameras; large: the selected one in front, the others small below it. */
export const cams = element;

export function setLayout(name) {
  element.dataset.layout = name;
}

export function render() {
  if (!state.cameras.length) return element.replaceChildren(empty("live", "No camera yet", "The run has no source. Cameras appear here as soon as it has one."));
  element.querySelector(".empty")?.remove();
  element.dataset.count = String(Math.min(state.cameras.length, 9));
  reconcile(element, state.cameras, {
    key: ({ id }) => id,
    make: (one) => {
      const card = new Card(one);
      cards.set(one.id, card);
      return card.element;
    },
    update: (_, one) => cards.get(one.id).update(one, state.cameras.indexOf(one)),
  });
}

on("cameras selected paused disconnected hello", render);
on("camera", (id) => cards.get(id)?.update(camera(id), state.cameras.indexOf(camera(id))));
