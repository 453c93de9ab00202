// Dialogs: the browser's own, which keeps the focus inside and closes by Escape.

import { h, icon } from "./dom.js";

/**
 * Opens a dialog; resolves with what `close(value)` was given, or null.
 *
 * `build(close)` returns {body: elements, actions: elements}. `firm`: it cannot be dismissed.
 */
export function openDialog(title, build, { firm = false, wide = false } = {}) {
  return new Promise((resolve) => {
    let result = null;
    const close = (value = null) => { result = value; dialog.close(); };
    const { body, actions } = build(close);
    const dialog = h("dialog", { "aria-labelledby": "dialog-title", class: wide ? "wide" : null },
      h("div", { class: "row" }, h("h2", { id: "dialog-title", class: "grow" }, title),
        firm ? null : h("button", { class: "round", type: "button", "aria-label": "Close", onclick: () => close() }, icon("close"))),
      h("div", { class: "stack" }, ...body),
      actions?.length ? h("div", { class: "actions" }, ...actions) : null);
    dialog.addEventListener("cancel", (event) => firm && event.preventDefault());
    dialog.addEventListener("click", (event) => event.target === dialog && !firm && close());
    dialog.addEventListener("close", () => { dialog.remove(); resolve(result); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

let timer;

/** Says something for a few seconds. */
export function toast(words) {
  const box = document.getElementById("toast");
  box.textContent = words;
  box.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => { box.hidden = true; }, 5000);
}

const KEYS = [
  ["1 to 9", "choose a camera"],
  ["Space", "pause the pictures, or go on"],
  ["m", "what the model sees"],
  ["← →", "another tab, when a tab has the focus"],
  ["?", "this help"],
  ["Esc", "close a dialog"],
];

export function openHelp(version) {
  if (document.querySelector("dialog[open]")) return;
  openDialog("Help", () => ({
    body: [
      h("p", {}, "Live shows each camera and how probable the model finds each class. An action starts when its line rises over the dashed “on” line, and ends when it falls below “off”."),
      h("p", {}, "Give events a thumb up or down: Tune then tells what other thresholds would have changed, and which of your thumbs-up they would lose."),
      h("dl", { class: "keys" }, ...KEYS.flatMap(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, words)])),
      h("p", { class: "small muted" }, version ? `edge-tsm ${version.version}` : ""),
    ],
  }));
}

/** Asks for the token until one is taken; `sign(token)` throws a Problem whose message is shown. */
export function askToken(sign) {
  return openDialog("Sign in", (close) => {
    const field = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true, "aria-describedby": "token-problem", autofocus: true });
    const problem = h("p", { class: "bad small", id: "token-problem", role: "alert" });
    const send = h("button", { class: "button main", type: "submit" }, "Sign in");
    const submit = async (event) => {
      event.preventDefault();
      send.disabled = true;
      try {
        await sign(field.value.trim());
        close(true);
      } catch (error) {
        problem.textContent = error.retry_s ? `${error.message} Try again in ${error.retry_s} s.` : error.message;
        setTimeout(() => { send.disabled = false; }, (error.retry_s ?? 0) * 1000);
        field.select();
      }
    };
    return {
      body: [
        h("p", {}, "The token stands in the address that edge-tsm printed when it started, after #token=, and in its token file."),
        h("form", { class: "stack", onsubmit: submit }, h("div", { class: "field" }, h("label", { for: "token" }, "Token"), field), problem, h("div", { class: "actions" }, send)),
      ],
    };
  }, { firm: true });
}
