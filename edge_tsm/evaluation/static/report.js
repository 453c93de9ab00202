"use strict";
// Tables sort by the column whose head is pressed; numbers by size, all else as text.
const number = (text) => parseFloat(text.replace(/[,<≤+]/g, ""));
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  for (const [index, head] of heads.entries()) {
    head.firstElementChild.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const first = numeric ? "descending" : "ascending";
      const second = numeric ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = (row) => row.cells[index].textContent;
      const compare = (a, b) => {
        if (!numeric) return sign * a.localeCompare(b, undefined, { numeric: true });
        const [x, y] = [number(a), number(b)];
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
        return sign * (x - y);
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b))));
    });
  }
}
// A map of many cells says what is under the pointer, and can be enlarged and moved.
for (const figure of document.querySelectorAll(".map")) {
  const { labels, totals, cells } = JSON.parse(figure.querySelector("script").textContent);
  const found = new Map(cells.map(([row, column, clips]) => [row + "," + column, clips]));
  const svg = figure.querySelector("svg"), tools = figure.querySelector(".tools");
  const told = tools.querySelector("output"), size = labels.length;
  let [left, top, side] = [0, 0, size];
  const view = () => {
    left = Math.min(Math.max(left, 0), size - side);
    top = Math.min(Math.max(top, 0), size - side);
    svg.setAttribute("viewBox", [left, top, side, side].join(" "));
    figure.classList.toggle("large", side < size);
  };
  const zoom = (factor, x = left + side / 2, y = top + side / 2) => {
    const next = Math.min(Math.max(side / factor, 8), size);
    left = x - ((x - left) * next) / side;
    top = y - ((y - top) * next) / side;
    side = next;
    view();
  };
  const place = (event) => {
    const box = svg.getBoundingClientRect();
    const scale = side / box.width;
    return [left + (event.clientX - box.left) * scale, top + (event.clientY - box.top) * scale];
  };
  let held = null;
  svg.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    if (held && side < size) {
      left += held[0] - x;
      top += held[1] - y;
      view();
      return;
    }
    const row = Math.floor(y), column = Math.floor(x), clips = found.get(row + "," + column) || 0;
    if (row < 0 || column < 0 || row >= size || column >= size) return;
    told.textContent = labels[row] + " → " + labels[column] + ": " + clips + " of " + totals[row];
  });
  svg.addEventListener("pointerdown", (event) => {
    held = place(event);
    if (side < size) svg.setPointerCapture(event.pointerId);
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => (held = null));
  svg.addEventListener("dblclick", (event) => zoom(2, ...place(event)));
  for (const button of tools.querySelectorAll("button"))
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  tools.hidden = false;
}
