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
  const few = table.classList.contains("few");
  const isShown = (cell) => !(few && cell.classList.contains("more"));
  const cells = (row) => [...row.cells].filter(isShown).map(textOf);
  return [table.tHead.rows[0], ...rows].map(cells);
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

// A button that copies a block of code.
function addCopy(block) {
  const frame = document.createElement("div");
  frame.className = "copied";
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const done = await copy(block.textContent);
    button.textContent = done ? "Copied" : "This browser does not allow copying";
  });
  block.replaceWith(frame);
  frame.append(block, button);
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

const COPIES = [["CSV", toCsv], ["Markdown", toMarkdown]];

// The button that shows the columns beyond the first few.
function moreButton(table) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "More columns";
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    const few = table.classList.toggle("few");
    button.setAttribute("aria-pressed", String(!few));
  });
  return button;
}

// ---- tables that go on beyond the edge ----

function noteWhatGoesOn(frame) {
  const left = frame.scrollWidth - frame.clientWidth - frame.scrollLeft;
  frame.classList.toggle("goes-on", left > 1);
  let note = frame.nextElementSibling;
  if (!note?.classList.contains("goes-on-note")) {
    note = document.createElement("p");
    note.className = "goes-on-note";
    note.textContent = "The table goes on to the right \u2192";
    frame.after(note);
  }
  note.hidden = left <= 1;
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
  if (table.dataset.tools.includes("more")) tools.append(moreButton(table));
  for (const [name, write] of COPIES) {
    if (!table.dataset.tools.includes("copy")) break;
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
  const sizes = new ResizeObserver((entries) => {
    for (const entry of entries) noteWhatGoesOn(entry.target.closest(".scroll"));
  });
  for (const frame of document.querySelectorAll(".scroll")) {
    sizes.observe(frame); // also when the fold that it is in opens
    sizes.observe(frame.querySelector("table")); // with more columns, or fewer rows
    frame.addEventListener("scroll", () => noteWhatGoesOn(frame), { passive: true });
  }
  document.querySelectorAll(".snippet pre").forEach(addCopy);
}
