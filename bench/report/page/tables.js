// Tables: sorted by their headings, filtered by text, and copied as CSV or Markdown.
"use strict";

// The text of a cell, without its marker and its link to warnings.
function textOf(cell) {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll('[aria-hidden="true"], .warning').forEach((element) => element.remove());
  return copy.textContent.trim();
}

function shownRows(table) {
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
  return [table.tHead.rows[0], ...rows].map((row) => [...row.cells].map(textOf));
}

// Spreadsheets take texts that begin like this for formulas; numbers may begin with a sign.
function withoutFormula(text) {
  if (!/^[=@+\-\t\r]/.test(text)) return text;
  const isNumber = !Number.isNaN(Number(text.replace(/[ %,]/g, "")));
  return isNumber ? text : `'${text}`;
}

function toCsv(rows) {
  const cell = (value) => {
    const text = typeof value === "number" ? String(value) : withoutFormula(String(value));
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",") + "\n").join("");
}

function toMarkdown(rows) {
  const cell = (text) => {
    const line = text.replace(/\s+/g, " ").replaceAll("&", "&amp;").replaceAll("<", "&lt;");
    return line.replace(/([\\`*_{}[\]#|$~])/g, "\\$1");
  };
  const line = (row) => `| ${row.map(cell).join(" | ")} |\n`;
  const rule = `|${" --- |".repeat(rows[0].length)}\n`;
  return line(rows[0]) + rule + rows.slice(1).map(line).join("");
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages opened from a file may not use the clipboard directly, but can copy a selection.
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

function valueOf(row, column, numeric) {
  const cell = row.cells[column];
  if (!numeric) return textOf(cell);
  const text = cell.dataset.value ?? cell.textContent;
  return text === "" ? NaN : Number(text);
}

function compare(a, b, numeric) {
  return numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
}

function sortBy(table, column, direction) {
  const head = table.tHead.rows[0].cells;
  const numeric = head[column].classList.contains("n");
  const sign = direction === "ascending" ? 1 : -1;
  const known = [];
  const missing = []; // last in either direction
  for (const row of table.tBodies[0].rows) {
    const value = valueOf(row, column, numeric);
    (numeric && Number.isNaN(value) ? missing : known).push({ value, row });
  }
  known.sort((a, b) => sign * compare(a.value, b.value, numeric));
  table.tBodies[0].append(...[...known, ...missing].map(({ row }) => row));
  for (const cell of head) cell.removeAttribute("aria-sort");
  head[column].setAttribute("aria-sort", direction);
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      const ascending = cell.getAttribute("aria-sort") === "ascending";
      sortBy(table, column, ascending ? "descending" : "ascending");
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
    if (!row.hidden) shown += 1;
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
    field.addEventListener("input", () => {
      status.textContent = filterRows(table, field.value);
    });
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
