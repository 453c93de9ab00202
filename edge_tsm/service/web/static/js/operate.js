// Rules are loaded, tried, saved and undone; what is to be written is shown before.

import { get, post } from "./api.js";
import { openDialog, toast } from "./dialog.js";
import { h } from "./dom.js";
import { changesOf, discard } from "./draft.js";
import { countdown } from "./format.js";
import { state, tell } from "./state.js";

const TRY_S = 600;

/** Lets the changes of a scope hold for ten minutes. */
export async function attempt(scope) {
  await guarded(async () => {
    take(await post("rules/try", { camera: scope.camera, changes: changesOf(scope), seconds: TRY_S }));
    toast("Being tried for ten minutes; then the rules are as before.");
  });
}

/** Ends a try. */
export const revert = () => guarded(async () => take(await post("rules/revert")));

/** Shows the difference, then writes it. */
export async function save(scope) {
  const wanted = { camera: scope.camera, changes: changesOf(scope) };
  await guarded(async () => {
    const plan = await post("rules/save", { ...wanted, dry_run: true });
    if (!(await confirmDiff("Save these rules?", plan, "Save"))) return;
    const done = await post("rules/save", wanted);
    discard(scope);
    take(done.rules);
    toast(`Saved to ${done.file}.${done.backup ? ` The file before is ${done.backup}.` : ""}`);
  });
}

/** Shows what the last save changed, and takes it back. */
export async function undo() {
  await guarded(async () => {
    const plan = await post("rules/undo", { dry_run: true });
    if (!(await confirmDiff("Undo the last save?", plan, "Undo"))) return;
    const done = await post("rules/undo");
    take(done.rules);
    toast(`Undone in ${done.file}.`);
  });
}

const TONES = { "+": "good", "-": "bad", "@": "muted" };

function confirmDiff(title, { file, diff, overridden }, word) {
  const lines = diff.split("\n").filter((line) => !line.startsWith("---") && !line.startsWith("+++"));
  return openDialog(title, (close) => ({
    body: [
      h("p", { class: "muted small" }, "What changes in ", h("code", {}, file)),
      h("pre", { class: "diff", tabindex: 0, "aria-label": "Difference" }, ...lines.map((line) => h("span", { class: TONES[line[0]] ?? "" }, `${line}\n`))),
      overridden?.length ? h("p", { class: "warn small" }, `An option of the command line goes before the file at the next start: ${overridden.join(", ")}.`) : "",
    ],
    actions: [
      h("button", { class: "button", type: "button", onclick: () => close() }, "Cancel"),
      h("button", { class: "button main", type: "button", autofocus: true, onclick: () => close(true) }, word),
    ],
  }), { wide: true });
}

async function guarded(action) {
  try {
    await action();
  } catch (error) {
    toast(error.message);
  }
}

function take(rules) {
  tell("rules", { rules });
}

/** Loads the rules; a run without decisions has none. */
export async function load() {
  try {
    take(await get("rules"));
  } catch (error) {
    if (error.code !== "not_found" && error.code !== "conflict") throw error;
    state.rules = null;
    tell("no rules");
  }
}

/** A try that runs: {scope, left_s}, or null. */
export function trying() {
  const found = state.rules?.scopes.find((one) => one.trying);
  return found ? { scope: found, left_s: (found.until_ms - Date.now()) / 1000, left: countdown((found.until_ms - Date.now()) / 1000) } : null;
}
