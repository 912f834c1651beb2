"use strict";

// The theme: what the system asks for, until the button is pressed.
const dark = matchMedia("(prefers-color-scheme: dark)");
const button = document.getElementById("theme");

function isDark() {
  return (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
}

function nameButton() {
  button.textContent = isDark() ? "Light" : "Dark";
}

button.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameButton();
});
dark.addEventListener("change", nameButton);
nameButton();
button.hidden = false;

// Tables that sort by the heading that was pressed: numbers from the greatest, names from A.
for (const table of document.querySelectorAll(".sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const number = (row, column) => (value(row, column) === "" ? -1 : Number(value(row, column))); // "–" comes below 0
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const numeric = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const ascending = before === "none" ? !numeric : before === "descending";
      const order = (a, b) => (numeric ? number(a, column) - number(b, column) : value(a, column).localeCompare(value(b, column), "en"));
      const rows = [...table.tBodies[0].rows].sort((a, b) => (ascending ? order(a, b) : order(b, a)));
      table.tBodies[0].append(...rows);
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    });
  });
}

// The confusion matrix: one cell is in the tab order, arrow keys move it, Enter or a click shows its pictures.
const { labels, cells } = JSON.parse(document.getElementById("cells").textContent);
const matrix = document.getElementById("matrix");
const words = document.getElementById("cell-words");
const panel = document.getElementById("cell-pictures");
const grid = [...matrix.tBodies[0].rows].map((row) => [...row.cells].slice(1));
let current = matrix.querySelector("td[class]") ?? grid[0][0]; // of very many labels those shown may have no cell in common
current.tabIndex = 0;

function place(cell) {
  return [cell.parentElement.rowIndex - 1, cell.cellIndex - 1];
}

// 100 is said only of all, and 0 only of none, as in the page's text.
function percent(share) {
  let digits = 0;
  while (share > 0 && share < 1 && [0, 100].includes(Number((100 * share).toFixed(digits)))) digits += 1;
  return (100 * share).toFixed(digits);
}

// Labels are in a bdi, in the page's text too: one that is written from right to left moved the numbers beside it otherwise.
function described(cell) {
  const [row, column] = place(cell);
  const count = Number(cell.textContent);
  const total = Number(cell.parentElement.dataset.total);
  const share = total ? ` (${percent(count / total)} %)` : "";
  const actual = element("bdi", labels[row]);
  const what = row === column ? [actual, " named rightly"] : [actual, " taken for ", element("bdi", labels[column])];
  return [...what, `: ${count} of ${total}${share}`];
}

function focusOn(cell) {
  current.tabIndex = -1;
  current = cell;
  cell.tabIndex = 0;
  cell.focus({ preventScroll: true }); // a browser's own way leaves half a cell outside
  keepInSight(cell);
}

// The pictures lie over the window's lower end, and the heads over the edges of a matrix that scrolls.
function keepInSight(cell) {
  const [corner] = matrix.tHead.rows[0].cells;
  matrix.parentElement.style.scrollPadding = `${corner.offsetHeight}px 0 0 ${corner.offsetWidth}px`;
  matrix.style.setProperty("--covered", panel.hidden ? "0px" : `${panel.offsetHeight + 16}px`);
  cell.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function photograph(number, text) {
  const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  picture.setAttribute("class", "photo");
  picture.setAttribute("viewBox", "0 0 128 128");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", text);
  use.setAttribute("href", `#picture-${number}`);
  picture.append(use);
  return picture;
}

function show(cell) {
  const [row, column] = place(cell);
  const images = cells[`${row}-${column}`] ?? [];
  const count = Number(cell.textContent);
  for (const other of matrix.querySelectorAll("[aria-selected]")) other.removeAttribute("aria-selected");
  cell.setAttribute("aria-selected", "true");
  words.replaceChildren(...described(cell));
  panel.querySelector("h4").replaceChildren(...described(cell));
  const left = count - images.length;
  const note = count === 0 ? "No test image is in this cell." : left > 0 ? `${left} more in predictions.csv.` : "";
  panel.querySelector("p").textContent = note;
  panel.querySelector(".photos").replaceChildren(
    ...images.map((image) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const said = element("span", "said ", row === column ? "said right" : "said wrong");
      const name = element("b", "");
      name.append(element("bdi", labels[column]));
      said.append(name, ` ${(100 * image.said).toFixed(1)}\u00a0%`);
      const where = element("span", `loss ${image.loss.toFixed(2)} · `, "quiet");
      where.append(element("bdi", image.source));
      caption.append(said, where);
      figure.append(photograph(image.picture, labels[row]), caption);
      return figure;
    }),
  );
  panel.hidden = false;
  keepInSight(cell);
}

function close() {
  panel.hidden = true;
  for (const other of matrix.querySelectorAll("[aria-selected]")) other.removeAttribute("aria-selected");
  focusOn(current);
}

panel.querySelector("button").addEventListener("click", close);
panel.parentElement.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !panel.hidden) close();
});

function neighbour(cell, event) {
  const [row, column] = place(cell);
  const last = grid.length - 1;
  const to = {
    ArrowUp: [row - 1, column],
    ArrowDown: [row + 1, column],
    ArrowLeft: [row, column - 1],
    ArrowRight: [row, column + 1],
    Home: [event.ctrlKey ? 0 : row, 0],
    End: [event.ctrlKey ? last : row, last],
  }[event.key];
  return to && grid[Math.min(last, Math.max(0, to[0]))][Math.min(last, Math.max(0, to[1]))];
}

matrix.tBodies[0].addEventListener("click", (event) => {
  const cell = event.target.closest("td");
  if (!cell) return;
  focusOn(cell);
  show(cell);
});

matrix.tBodies[0].addEventListener("keydown", (event) => {
  const cell = event.target.closest("td");
  if (!cell) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    show(cell);
    return;
  }
  const next = neighbour(cell, event);
  if (!next) return;
  event.preventDefault();
  focusOn(next);
});

matrix.tBodies[0].addEventListener("focusin", (event) => {
  if (event.target.matches("td")) words.replaceChildren(...described(event.target));
});
matrix.tBodies[0].addEventListener("mouseover", (event) => {
  if (event.target.matches("td")) words.replaceChildren(...described(event.target));
});

// A link to a cell (from the pairs, the breeds, another person's bookmark) opens it.
function follow() {
  const cell = location.hash.startsWith("#cell-") && document.getElementById(location.hash.slice(1));
  if (!cell || !matrix.contains(cell)) return;
  focusOn(cell);
  show(cell);
  cell.scrollIntoView({ block: "center", inline: "center" }); // with its heads, if they fit
}

window.addEventListener("hashchange", follow);
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#cell-"]');
  if (link && link.hash === location.hash) follow(); // the address doesn't change, so nobody else would call
});
follow();

// On paper everything is open.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
