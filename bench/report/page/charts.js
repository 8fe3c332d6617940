// The figures: drawn when they come into view or the browser is idle, switched, and saved. Until
// then the page shows them as still pictures, unless they are too many.
"use strict";

const hidden = new Set(); // names of the contenders that are not drawn
const charts = new Map(); // specification and view of each figure, by its element
const MOST_ROWS = 200; // rows of a figure's table that the page shows

// Vega parses CSV by code that it generates, which the page's policy forbids.
function parseCsv(text) {
  const rows = [];
  let row = [];
  let cell = "";
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const letter = text[i];
    if (quoted) {
      if (letter !== '"') {
        cell += letter;
      } else if (text[i + 1] === '"') {
        cell += '"'; // two quotes within a quoted cell are one
        i += 1;
      } else {
        quoted = false;
      }
    } else if (letter === '"') {
      quoted = true;
    } else if (letter === "," || letter === "\n") {
      row.push(cell);
      cell = "";
      if (letter === "\n") {
        rows.push(row);
        row = [];
      }
    } else {
      cell += letter;
    }
  }
  return rows;
}

async function inflate(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

async function readTable(name) {
  const data = JSON.parse(await inflate(document.getElementById(name)));
  const [header, ...cells] = parseCsv(data.values);
  const valueOf = (text, column) => {
    if (data.format.parse[column] !== "number") return text;
    return text === "" ? null : Number(text);
  };
  const entry = (text, i) => [header[i], valueOf(text, header[i])];
  return cells.map((row) => Object.fromEntries(row.map(entry)));
}

const tables = new Map(); // promises of the tables, each read once for several figures
function tableOf(name) {
  if (!tables.has(name)) tables.set(name, readTable(name));
  return tables.get(name);
}

function chartOf(figure) {
  if (!charts.has(figure)) {
    const chart = JSON.parse(figure.querySelector(".spec").textContent);
    charts.set(figure, { ...chart, view: null, drawing: null });
  }
  return charts.get(figure);
}

function draw(figure) {
  const chart = chartOf(figure);
  chart.drawing ??= embed(figure, chart);
  return chart.drawing;
}

async function embed(figure, chart) {
  const place = figure.querySelector(".view");
  const spec = structuredClone(chart.spec);
  for (const axis of ["x", "y"]) {
    eachScale(spec, axis, ({ scale }) => {
      if (scale.type === "log") delete scale.zero; // it has no 0
    });
  }
  for (const parameter of spec.params) {
    if (parameter.name === "hidden") parameter.value = [...hidden];
  }
  // What is shown stays until the new drawing is complete. It is drawn below, where nobody sees it:
  // outside of the page it would have no width.
  const stage = document.createElement("div");
  stage.style.cssText = "height: 0; overflow: hidden";
  place.append(stage);
  try {
    spec.data = { values: await tableOf(chart.data) };
    const tooltip = { disableDefaultStyle: true };
    // With "ast" expressions are interpreted: the page's policy forbids generated code.
    const options = { renderer: "svg", actions: false, ast: true, tooltip };
    const embedded = await vegaEmbed(stage, spec, options);
    chart.view?.finalize();
    chart.view = embedded.view;
    // The frame describes the figure in words, so that screen readers need not read its shapes.
    stage.querySelector("svg").setAttribute("aria-hidden", "true");
    stage.style.cssText = "";
    place.replaceChildren(stage);
    place.classList.add("drawn");
    say(figure, "");
  } catch (error) {
    stage.remove();
    const kept = place.querySelector("svg") ? " anew" : "";
    say(figure, `This figure could not be drawn${kept} (${error.message}); its numbers are below.`);
  }
}

// Say something below a figure, instead of what was said before.
function say(figure, text) {
  figure.querySelector(".said")?.remove();
  if (!text) return;
  const note = document.createElement("p");
  note.className = "said";
  note.textContent = text;
  figure.querySelector(".view").after(note);
}

function showContenders() {
  for (const chart of charts.values()) {
    if (chart.view) chart.view.signal("hidden", [...hidden]).runAsync();
  }
}

// ---- linear and logarithmic ----

// Call a function with every encoding of an axis that has a scale, in nested layers too.
function eachScale(node, axis, visit) {
  if (Array.isArray(node)) {
    node.forEach((item) => eachScale(item, axis, visit));
  } else if (node && typeof node === "object") {
    const channel = node.encoding?.[axis];
    if (channel?.scale?.type) visit(channel);
    for (const name of ["layer", "spec", "hconcat", "vconcat"]) {
      if (node[name]) eachScale(node[name], axis, visit);
    }
  }
}

function typeOf(spec, axis) {
  const types = [];
  eachScale(spec, axis, (channel) => types.push(channel.scale.type));
  return types[0] ?? "";
}

function switchAxis(figure, axis, type) {
  const chart = chartOf(figure);
  const { domains, ticks } = chart.spec.usermeta.factorbench;
  const put = (object, name, value) => {
    if (value) object[name] = value;
    else delete object[name]; // Vega chooses
  };
  eachScale(chart.spec, axis, (channel) => {
    channel.scale.type = type;
    if (domains?.[axis]) put(channel.scale, "domain", domains[axis][type]);
    if (ticks?.[axis] && channel.axis) put(channel.axis, "values", ticks[axis][type]);
  });
  chart.drawing = embed(figure, chart);
  return chart.drawing;
}

function addSwitches(figure) {
  const { spec } = chartOf(figure);
  const axes = spec.usermeta.factorbench.switches;
  if (!axes.length) return;
  const box = document.createElement("div");
  box.className = "switches";
  for (const axis of axes) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `log ${axis}`;
    button.title = `Logarithmic ${axis === "x" ? "horizontal" : "vertical"} axis`;
    button.setAttribute("aria-pressed", String(typeOf(spec, axis) === "log"));
    button.addEventListener("click", () => {
      const type = button.getAttribute("aria-pressed") === "true" ? "linear" : "log";
      button.setAttribute("aria-pressed", String(type === "log"));
      switchAxis(figure, axis, type);
    });
    box.append(button);
  }
  figure.querySelector(".chart-head").append(box);
}

// ---- the numbers, and files ----

async function showNumbers(figure) {
  const { data, columns } = chartOf(figure);
  const rows = await tableOf(data);
  const place = figure.querySelector(".rows");
  if (place.childElementCount) return;
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  for (const [, title] of columns) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = title;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = body.insertRow();
    for (const [name] of columns) {
      const cell = line.insertCell();
      const value = row[name] ?? "";
      cell.textContent = typeof value === "number" ? String(value) : value;
      if (typeof value === "number") cell.className = "n";
    }
  }
  const frame = document.createElement("div");
  frame.className = "scroll";
  frame.tabIndex = 0;
  frame.setAttribute("role", "region");
  frame.setAttribute("aria-label", `The numbers: ${figure.querySelector("h3").textContent}`);
  frame.append(table);
  place.append(frame);
  if (rows.length > MOST_ROWS) {
    const note = document.createElement("p");
    note.textContent = `The first ${MOST_ROWS} of ${rows.length} rows; Save as CSV gives them all.`;
    place.append(note);
  }
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A saved picture has a white background and the colours for it, even in dark mode.
async function picture(figure) {
  const paper = document.createElement("div");
  paper.className = "on-paper";
  document.body.append(paper);
  const colors = getComputedStyle(paper);
  const svg = await chartOf(figure).view.toSVG(1);
  // Outside of the page, CSS variables have no values.
  const value = (_, name) => colors.getPropertyValue(name).trim();
  const plain = svg.replace(/var\((--[a-z0-9-]+)\)/g, value);
  paper.remove();
  return plain.replace(/^(<svg[^>]*>)/, '$1<rect width="100%" height="100%" fill="#fff"/>');
}

async function asPng(svg) {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * image.width;
  canvas.height = 2 * image.height;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function save(figure, kind) {
  const { stem, data } = chartOf(figure);
  if (kind === "csv") {
    const rows = await tableOf(data);
    const header = Object.keys(rows[0] ?? {});
    const cells = rows.map((row) => header.map((name) => row[name] ?? ""));
    download(new Blob([toCsv([header, ...cells])], { type: "text/csv" }), `${stem}.csv`);
    return;
  }
  await draw(figure);
  const svg = await picture(figure);
  const blob = kind === "svg" ? new Blob([svg], { type: "image/svg+xml" }) : await asPng(svg);
  download(blob, `${stem}.${kind}`);
}

// ---- the order of drawing ----

function drawLater(figures) {
  const drawVisible = (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      draw(entry.target);
    }
  };
  const observer = new IntersectionObserver(drawVisible, { rootMargin: "400px" });
  figures.forEach((figure) => observer.observe(figure));
  const idle = window.requestIdleCallback ?? ((run) => setTimeout(run, 50));
  // Folded figures wait until they are unfolded, unless nothing would be printed in their place.
  const isDue = (figure) => figure.checkVisibility() || !figure.querySelector(".view svg");
  const waiting = figures.filter(isDue);
  const next = () => {
    const figure = waiting.shift();
    if (figure) draw(figure).then(() => idle(next));
    else document.documentElement.dataset.drawn = "all";
  };
  idle(next);
}

function startCharts() {
  const figures = [...document.querySelectorAll("figure.chart")];
  for (const figure of figures) {
    figure.querySelector(".numbers").addEventListener("toggle", () => showNumbers(figure));
    figure.querySelector(".save").hidden = false;
    for (const button of figure.querySelectorAll(".save button")) {
      button.addEventListener("click", () => save(figure, button.dataset.kind));
    }
    addSwitches(figure);
  }
  drawLater(figures);
  // Vega adapts figures to their width on this event only, and folded ones have no width.
  const onUnfold = ({ target }) => {
    if (target.querySelector("figure.chart")) window.dispatchEvent(new Event("resize"));
  };
  document.addEventListener("toggle", onUnfold, { capture: true }); // it does not bubble
}
