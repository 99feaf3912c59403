"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// Copy with the clipboard API if the browser allows it for local files, otherwise with a selection.
for (const button of all("[data-copy]")) {
  button.addEventListener("click", async () => {
    const ok = await copyText(button.dataset.copy);
    const { copied, refused } = document.body.dataset;
    button.dataset.label ??= button.textContent;
    button.textContent = ok ? copied : refused;
    setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
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

// Draw the charts. Their colours are variables of style.css; expressions are interpreted, since the
// content security policy does not allow to compile them.
const config = {
  background: "transparent", font: getComputedStyle(document.body).fontFamily, padding: 2,
  view: { stroke: null, cursor: "default" },
  axis: {
    labelColor: "var(--quiet)", titleColor: "var(--quiet)", titleFontWeight: "normal", gridColor: "var(--line)",
    domainColor: "var(--quiet)", tickColor: "var(--quiet)", labelFontSize: 11, titleFontSize: 11, tickCount: 5,
  },
  axisX: { grid: false, tickSize: 4, titleAnchor: "end", labelFlush: false }, axisY: { domain: false, ticks: false },
  legend: { labelColor: "var(--quiet)", titleColor: "var(--quiet)", titleFontWeight: "normal", symbolType: "circle" },
  mark: { color: "var(--c1)", invalid: "break-paths-show-domains" },
  locale: { number: { decimal: ".", thousands: "\u202f", grouping: [3], currency: ["", ""], minus: "\u2212" } },
};
const options = { renderer: "svg", ast: true, actions: false, config };
const views = []; // those of charts with jobs
for (const place of all("[data-chart]")) {
  vegaEmbed(place, JSON.parse(place.dataset.chart), options).then(({ view }) => {
    if (place.matches(".jobs-chart")) linkJobs(view);
  });
}

function setSignals(signals) {
  for (const view of views) {
    for (const [name, value] of Object.entries(signals)) view.signal(name, value);
    view.runAsync();
  }
}

// Highlight the job at the pointer in the table and in all charts.
function highlight(job) {
  for (const row of all("tr[data-job]")) row.classList.toggle("lit", row.dataset.job === job);
  setSignals({ lit: job });
}
for (const row of all("tr[data-job]")) {
  for (const name of ["pointerenter", "focusin"]) row.addEventListener(name, () => highlight(row.dataset.job));
  for (const name of ["pointerleave", "focusout"]) row.addEventListener(name, () => highlight(null));
}

function linkJobs(view) {
  views.push(view);
  view.addEventListener("pointerover", (_, item) => { if (item?.datum?.job) highlight(item.datum.job); });
  view.addEventListener("pointerout", (_, item) => { if (item?.datum?.job) highlight(null); });
  view.addEventListener("click", (_, item) => { if (item?.datum?.choice) toggle(item.datum.choice); });
}

// A click on a value of a setting, "<number of the setting>:<value>", dims all other jobs, and a second
// click restores them.
const chosen = new Set();
function toggle(choice) {
  if (!chosen.delete(choice)) chosen.add(choice);
  const rows = all("tr[data-job]");
  const shown = rows.filter(isShown);
  for (const row of rows) row.classList.toggle("dim", !shown.includes(row));
  setSignals({ chosen: [...chosen], shown: chosen.size ? shown.map((row) => row.dataset.job) : null });
}

function isShown(row) {
  const numbers = new Set([...chosen].map((choice) => choice.split(":", 1)[0]));
  return [...numbers].every((n) => chosen.has(`${n}:${row.getAttribute(`data-choice-${n}`)}`));
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
