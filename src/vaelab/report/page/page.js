"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Copy: the clipboard where the browser has one for files, else a selection.
for (const button of all("[data-copy]")) {
  button.addEventListener("click", async () => {
    const said = (await copied(button.dataset.copy)) ? "copied" : "not allowed";
    button.textContent = said;
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

// Sort: within each group, as jobs of different groups cannot be compared; what has no value is last.
const table = document.getElementById("jobs");
for (const [column, head] of all("thead th", table ?? document.createElement("p")).entries()) {
  head.querySelector("button")?.addEventListener("click", () => sort(column, head));
}

function sort(column, head) {
  const number = head.dataset.type === "number";
  const order = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].slice(1);
    const keyed = rows.map((row) => [key(row.cells[column], number), row]);
    keyed.sort(([a], [b]) => (a === null) - (b === null) || order * compare(a, b));
    body.append(...keyed.map(([, row]) => row));
  }
}

function key(cell, number) {
  const text = cell?.dataset.value ?? cell?.textContent.trim() ?? "";
  if (text === "" || cell.classList.contains("reason")) return null;
  return number && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

// A job is lit wherever it is drawn.
for (const mark of all("[data-job]")) {
  const light = (on) => all("[data-job]")
    .filter((other) => other.dataset.job === mark.dataset.job)
    .forEach((other) => other.classList.toggle("lit", on));
  mark.addEventListener("pointerenter", () => light(true));
  mark.addEventListener("pointerleave", () => light(false));
  mark.addEventListener("focus", () => light(true));
  mark.addEventListener("blur", () => light(false));
}

// A click on a value of a choice leaves its jobs alone, a second one brings the others back.
const keys = JSON.parse(document.getElementById("keys")?.textContent ?? "[]");
for (const value of all("text.value")) {
  const choose = () => {
    value.classList.toggle("chosen");
    const chosen = all("text.value.chosen").map((each) => [keys.indexOf(each.dataset.key), each.dataset.value]);
    const kept = new Set(all("tr[data-job]").filter((row) => fits(row, chosen)).map((row) => row.dataset.job));
    for (const mark of all("[data-job]")) mark.classList.toggle("dim", !kept.has(mark.dataset.job));
  };
  value.addEventListener("click", choose);
  value.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") choose(); });
}

function fits(row, chosen) {
  const by = Map.groupBy ? Map.groupBy(chosen, ([n]) => n) : grouped(chosen);
  return [...by].every(([n, pairs]) => pairs.some(([, text]) => row.getAttribute(`data-choice-${n}`) === text));
}

function grouped(pairs) {
  const by = new Map();
  for (const pair of pairs) by.set(pair[0], [...(by.get(pair[0]) ?? []), pair]);
  return by;
}

// Curves: the value at the pointer, in place of the last one.
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

// Two jobs side by side: a row for each picture that one of them has.
const pictures = JSON.parse(document.getElementById("pictures")?.textContent ?? "{}");
const sides = all("#beside select");
for (const side of sides) side.addEventListener("change", show);
if (sides.length) show();

function show() {
  const byName = sides.map(({ value }) => new Map((pictures[value] ?? []).map((each) => [each.name, each])));
  const names = new Set(byName.flatMap((side) => [...side.keys()]));
  const rows = [...names].flatMap((name) => byName.map((side) => drawn(side.get(name))));
  document.querySelector("#beside .shown").replaceChildren(...rows);
}

function drawn(found) {
  const figure = document.createElement("figure");
  if (!found) return figure;
  const picture = new Image();
  picture.src = found.source;
  picture.alt = found.caption;
  picture.title = found.name;
  const words = document.createElement("figcaption");
  words.textContent = found.caption;
  figure.append(picture, words);
  return figure;
}

// A click on a picture shows it as large as the window.
const large = document.getElementById("large");
document.addEventListener("click", ({ target }) => {
  if (large.open) {
    large.close();
  } else if (target.matches("figure img")) {
    large.firstElementChild.src = target.src;
    large.showModal();
  }
});
