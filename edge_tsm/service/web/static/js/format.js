// Numbers and times as people read them.

export const percent = (share) => `${Math.round(share * 100)}%`;

export function plural(count, word) {
  return `${count.toLocaleString("en-US")} ${word}${count === 1 ? "" : "s"}`;
}

/** 4.26 -> "4.3 s", 75 -> "1 min 15 s", 7300 -> "2 h 2 min". */
export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return parts([Math.floor(whole / 60), "min"], [whole % 60, "s"]);
  const minutes = Math.round(whole / 60);
  if (minutes < 48 * 60) return parts([Math.floor(minutes / 60), "h"], [minutes % 60, "min"]);
  return parts([Math.floor(minutes / 1440), "d"], [Math.round((minutes % 1440) / 60), "h"]);
}

function parts(...pairs) {
  return pairs.filter(([value]) => value).map(([value, unit]) => `${value} ${unit}`).join(" ");
}

/** 12.7 -> "12 s", 106 -> "1 min": one unit, for what counts up while it is looked at. */
export function counting(seconds) {
  const [size, unit] = [[86_400, "d"], [3600, "h"], [60, "min"]].find(([one]) => seconds >= one) ?? [1, "s"];
  return `${Math.max(0, Math.floor(seconds / size))} ${unit}`;
}

/** 570 -> "9:30". */
export function countdown(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

const two = (value) => String(value).padStart(2, "0");

export function localTime(utc) {
  const date = new Date(utc);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function utcTime(utc) {
  return `${new Date(utc).toISOString().slice(11, 19)} UTC`;
}

/** "Today", "Yesterday" or "Thu, Nov 26", by local time. */
export function day(utc, now) {
  const date = new Date(utc);
  const days = Math.round((new Date(now).setHours(0, 0, 0, 0) - new Date(utc).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return date.toLocaleDateString("en-US", { weekday: "short", month: "short", day: "numeric" });
}

export function megabytes(size) {
  return size >= 1000 ? `${(size / 1000).toFixed(size >= 10_000 ? 0 : 1)} GB` : `${Math.round(size)} MB`;
}

const WORDS = {
  opening: ["opening", "idle"],
  live: ["live", "good"],
  silent: ["silent", "warn"],
  frozen: ["frozen", "warn"],
  black: ["black", "warn"],
  lost: ["lost", "bad"],
  ended: ["ended", "idle"],
};

/** How a camera is: words and the color's class; `for_s` counts up where something is wrong. */
export function condition(state, for_s) {
  const [words, tone] = WORDS[state] ?? [state, "warn"];
  const counted = tone === "bad" || tone === "warn" ? ` ${counting(for_s)}` : "";
  return { words: `${words}${counted}`, tone };
}
