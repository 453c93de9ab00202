// The one WebSocket: texts become topics, pictures go to whoever shows them, and each is acknowledged.

import { state, tell } from "./state.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const SILENCE_MS = 10_000; // the server tells its stats every 2 s
const PICTURE = 1;

export class Link {
  /** `shower(kind, camera, picture)` draws a picture and resolves when it is drawn. */
  constructor(shower) {
    this.shower = shower;
    this.pause_ms = FIRST_PAUSE_MS;
    this.watch = { pictures: [], sees: [], pinned: {}, top: 3 };
  }

  open() {
    clearTimeout(this.timer);
    this.socket?.close();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      this.#heard();
      if (typeof data === "string") this.#text(JSON.parse(data));
      else this.#picture(socket, data);
    };
    socket.onclose = () => this.#closed(socket);
    this.#heard();
  }

  close() {
    clearTimeout(this.timer);
    clearTimeout(this.silence);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  /** Asks for pictures and scores in the place of what was asked before. */
  ask(watch) {
    const text = JSON.stringify({ type: "watch", ...watch });
    if (text === this.asked) return;
    this.watch = watch;
    if (this.#send(this.socket, text)) this.asked = text;
  }

  #send(socket, text) {
    if (socket?.readyState !== WebSocket.OPEN) return false;
    socket.send(text);
    return true;
  }

  #heard() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.#closed(this.socket), SILENCE_MS);
  }

  #closed(socket) {
    if (!socket || socket !== this.socket) return;
    this.socket = null;
    socket.close();
    clearTimeout(this.silence);
    state.connected = false;
    const wait_ms = this.pause_ms * (0.75 + Math.random() / 2);
    this.pause_ms = Math.min(this.pause_ms * 2, LONGEST_PAUSE_MS);
    this.timer = setTimeout(() => this.open(), wait_ms);
    tell("disconnected", { again_ms: Date.now() + wait_ms });
  }

  #text(message) {
    if (message.type === "hello") {
      this.pause_ms = FIRST_PAUSE_MS;
      state.ahead_ms = Date.parse(message.utc) - Date.now();
      state.connected = true;
      this.asked = null;
      this.ask(this.watch);
    }
    tell(message.type, message);
  }

  async #picture(socket, data) {
    const { kind, camera, number, facts, utc_s, jpeg } = parse(data);
    try {
      const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
      await this.shower(kind === PICTURE ? "picture" : "sees", camera, { bitmap, facts, utc_s });
    } catch {
      // A picture that cannot be shown is given up; the next one is asked for all the same.
    }
    this.#send(socket, JSON.stringify({ type: "ack", camera, kind, number }));
  }
}

function parse(data) {
  const view = new DataView(data);
  const id_end = 16 + view.getUint8(1);
  const facts_end = id_end + view.getUint16(2);
  const decode = (from, to) => new TextDecoder().decode(new Uint8Array(data, from, to - from));
  return {
    kind: view.getUint8(0),
    number: view.getUint32(4),
    utc_s: view.getFloat64(8),
    camera: decode(16, id_end),
    facts: facts_end > id_end ? JSON.parse(decode(id_end, facts_end)) : null,
    jpeg: new Uint8Array(data, facts_end),
  };
}
