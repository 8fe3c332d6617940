// Tables: sorted by their headings, filtered by text, and copied as CSV or Markdown.
"use strict";

// What a cell says, without its marker and its link to doubts.
function textOf(cell) {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll('[aria-hidden="true"], .doubt').forEach((one) => one.remove());
  return copy.textContent.trim();
}

function shownRows(table) {
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
  return [table.tHead.rows[0], ...rows].map((row) => [...row.cells].map(textOf));
}

// A spreadsheet would take a text that begins so for a formula.
function toCsv(rows) {
  const safe = (text) => (/^[=@+\-\t\r]/.test(text) && Number.isNaN(Number(text.replace(/[ %,]/g, ""))) ? `'${text}` : text);
  const cell = (value) => {
    const text = typeof value === "number" ? String(value) : safe(String(value));
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",") + "\n").join("");
}

function toMarkdown(rows) {
  const cell = (text) => text.replace(/\s+/g, " ").replaceAll("&", "&amp;").replaceAll("<", "&lt;").replace(/([\\`*_{}[\]#|$~])/g, "\\$1");
  const line = (row) => `| ${row.map(cell).join(" | ")} |\n`;
  return line(rows[0]) + `|${" --- |".repeat(rows[0].length)}\n` + rows.slice(1).map(line).join("");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const box = document.createElement("textarea");
    box.value = text;
    box.className = "unseen";
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    return done;
  }
}

// ---- sorting ----

function valueOf(row, at, numeric) {
  const cell = row.cells[at];
  if (!numeric) return textOf(cell);
  const text = cell.dataset.value ?? cell.textContent;
  return text === "" ? NaN : Number(text);
}

function compare(one, other, numeric) {
  if (!numeric) return one.localeCompare(other, "en", { numeric: true });
  if (Number.isNaN(one) || Number.isNaN(other)) return 0;
  return one - other;
}

function sortBy(table, at, direction) {
  const head = table.tHead.rows[0].cells;
  const numeric = head[at].classList.contains("n");
  const sign = direction === "ascending" ? 1 : -1;
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, at, numeric), row]);
  const missing = ([value]) => numeric && Number.isNaN(value);
  const known = rows.filter((one) => !missing(one)).sort((a, b) => sign * compare(a[0], b[0], numeric));
  table.tBodies[0].append(...[...known, ...rows.filter(missing)].map(([, row]) => row)); // unknown ones last either way
  for (const cell of head) cell.removeAttribute("aria-sort");
  head[at].setAttribute("aria-sort", direction);
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((cell, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      sortBy(table, at, cell.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
    });
  });
}

// ---- the tools above a table ----

function filterRows(table, wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  return `${shown} of ${table.tBodies[0].rows.length} rows`;
}

function addTools(table, number) {
  const tools = document.createElement("div");
  tools.className = "tools";
  const status = document.createElement("span");
  status.setAttribute("role", "status");
  if (table.dataset.tools.includes("filter")) {
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "Filter";
    field.dataset.key = `filter-${number}`;
    field.setAttribute("aria-label", "Show only rows with these words");
    field.addEventListener("input", () => (status.textContent = filterRows(table, field.value)));
    tools.append(field);
  }
  for (const [name, write] of [["CSV", toCsv], ["Markdown", toMarkdown]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Copy ${name}`;
    button.addEventListener("click", async () => {
      const done = await copy(write(shownRows(table)));
      status.textContent = done ? `Copied as ${name}` : "This browser does not allow copying";
    });
    tools.append(button);
  }
  tools.append(status);
  table.closest(".scroll").before(tools);
}

function startTables() {
  document.querySelectorAll("table").forEach(makeSortable);
  document.querySelectorAll("table[data-tools]").forEach(addTools);
}
