"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Copy with the clipboard API if the browser allows it for local files, otherwise with a selection.
for (const button of all("[data-copy]")) {
  button.addEventListener("click", async () => {
    const ok = await copyText(button.dataset.copy);
    button.textContent = ok ? "copied" : "not allowed";
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const ok = document.execCommand("copy");
    area.remove();
    return ok;
  }
}

// Sort within each group, since jobs of different groups cannot be compared. Rows without a value are last.
const table = document.getElementById("jobs");
for (const [column, head] of all("thead th", table ?? document.createElement("p")).entries()) {
  head.querySelector("button")?.addEventListener("click", () => sortRows(column, head));
}

function sortRows(column, head) {
  const number = head.dataset.type === "number";
  const order = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].slice(1);
    const keyed = rows.map((row) => [sortKey(row.cells[column], number), row]);
    keyed.sort(([a], [b]) => (a === null) - (b === null) || order * compare(a, b));
    body.append(...keyed.map(([, row]) => row));
  }
}

function sortKey(cell, number) {
  const text = cell?.dataset.value ?? cell?.textContent.trim() ?? "";
  if (text === "" || cell.classList.contains("reason")) return null;
  return number && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

// Highlight a job in the table and in all charts.
for (const mark of all("[data-job]")) {
  const highlight = (on) => all("[data-job]")
    .filter((other) => other.dataset.job === mark.dataset.job)
    .forEach((other) => other.classList.toggle("lit", on));
  mark.addEventListener("pointerenter", () => highlight(true));
  mark.addEventListener("pointerleave", () => highlight(false));
  mark.addEventListener("focus", () => highlight(true));
  mark.addEventListener("blur", () => highlight(false));
}

// A click on a value of a setting dims all other jobs, and a second click restores them.
const keys = JSON.parse(document.getElementById("keys")?.textContent ?? "[]");
for (const value of all("text.value")) {
  const toggle = () => {
    value.classList.toggle("chosen");
    const chosen = all("text.value.chosen").map((text) => [keys.indexOf(text.dataset.key), text.dataset.value]);
    const matching = new Set(all("tr[data-job]").filter((row) => matches(row, chosen)).map((row) => row.dataset.job));
    for (const mark of all("[data-job]")) mark.classList.toggle("dim", !matching.has(mark.dataset.job));
  };
  value.addEventListener("click", toggle);
  value.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") toggle(); });
}

function matches(row, chosen) {
  const by = Map.groupBy ? Map.groupBy(chosen, ([n]) => n) : groupByKey(chosen);
  return [...by].every(([n, pairs]) => pairs.some(([, text]) => row.getAttribute(`data-choice-${n}`) === text));
}

function groupByKey(pairs) {
  const by = new Map();
  for (const pair of pairs) by.set(pair[0], [...(by.get(pair[0]) ?? []), pair]);
  return by;
}

// Show the value of each curve at the pointer instead of the last value.
for (const panel of all("[data-panel]")) {
  const svg = panel.querySelector("svg");
  const curves = all(".curve", panel).map((path) => JSON.parse(path.dataset.points));
  const outputs = all("output", panel);
  const last = outputs.map((output) => output.textContent);
  const [line, step] = all(".cursor", panel);
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    const near = curves.map((points) => points.reduce((a, b) => (Math.abs(b[2] - at) < Math.abs(a[2] - at) ? b : a)));
    near.forEach((point, n) => { outputs[n].textContent = point[1]; });
    const first = near.reduce((a, b) => (Math.abs(b[2] - at) < Math.abs(a[2] - at) ? b : a));
    line.setAttribute("transform", `translate(${first[2]} 0)`);
    step.setAttribute("x", first[2]);
    step.textContent = first[0];
    for (const mark of [line, step]) mark.setAttribute("visibility", "visible");
  });
  svg.addEventListener("pointerleave", () => {
    last.forEach((text, n) => { outputs[n].textContent = text; });
    for (const mark of [line, step]) mark.setAttribute("visibility", "hidden");
  });
}

// Show two jobs side by side, with a row for each image that one of them has.
const images = JSON.parse(document.getElementById("images")?.textContent ?? "{}");
const sides = all("#compare select");
for (const side of sides) side.addEventListener("change", showImages);
if (sides.length) showImages();

function showImages() {
  const byName = sides.map(({ value }) => new Map((images[value] ?? []).map((image) => [image.name, image])));
  const names = new Set(byName.flatMap((side) => [...side.keys()]));
  const rows = [...names].flatMap((name) => byName.map((side) => makeFigure(side.get(name))));
  document.querySelector("#compare .shown").replaceChildren(...rows);
}

function makeFigure(image) {
  const figure = document.createElement("figure");
  if (!image) return figure;
  const element = new Image();
  element.src = image.source;
  element.alt = image.caption;
  element.title = image.name;
  const caption = document.createElement("figcaption");
  caption.textContent = image.caption;
  figure.append(element, caption);
  return figure;
}

// A click on an image enlarges it to the size of the window.
const large = document.getElementById("large");
document.addEventListener("click", ({ target }) => {
  if (large.open) {
    large.close();
  } else if (target.matches("figure img")) {
    large.firstElementChild.src = target.src;
    large.showModal();
  }
});
