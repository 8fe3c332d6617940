// The figures: drawn when they come into view or when the browser is idle, switched, and saved.
"use strict";

const hidden = new Set(); // names of the contenders that are switched off
const charts = new Map(); // each figure's element, with what is known of it
const MOST_ROWS = 200; // of a figure's table that are shown on the page

// Vega would read CSV with code that it makes on the fly, which the page forbids; names and texts may be anything.
function parseCsv(text) {
  const rows = [];
  let row = [], cell = "", quoted = false;
  for (let at = 0; at < text.length; at++) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') cell += text[++at];
      else quoted = false;
    } else if (letter === '"') quoted = true;
    else if (letter === "," || letter === "\n") {
      row.push(cell);
      cell = "";
      if (letter === "\n") {
        rows.push(row);
        row = [];
      }
    } else cell += letter;
  }
  return rows;
}

async function inflate(element) {
  const bytes = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
}

async function readTable(name) {
  const data = JSON.parse(await inflate(document.getElementById(name)));
  const [header, ...cells] = parseCsv(data.values);
  const numbers = header.map((column) => data.format.parse[column] === "number");
  const value = (text, at) => (numbers[at] ? (text === "" ? null : Number(text)) : text);
  return cells.map((row) => Object.fromEntries(row.map((text, at) => [header[at], value(text, at)])));
}

const tables = new Map(); // of several figures, read once
function tableOf(name) {
  if (!tables.has(name)) tables.set(name, readTable(name));
  return tables.get(name);
}

function chartOf(figure) {
  if (!charts.has(figure)) charts.set(figure, { ...JSON.parse(figure.querySelector(".spec").textContent), view: null, drawing: null });
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
  for (const axis of ["x", "y"]) eachScale(spec, axis, ({ scale }) => scale.type === "log" && delete scale.zero);
  spec.params = spec.params.map((one) => (one.name === "hidden" ? { ...one, value: [...hidden] } : one));
  try {
    spec.data = { values: await tableOf(chart.data) };
    chart.view?.finalize();
    const options = { renderer: "svg", actions: false, ast: true, tooltip: { disableDefaultStyle: true } };
    const made = await vegaEmbed(place, spec, options);
    chart.view = made.view;
    place.classList.add("drawn");
    place.querySelector("svg").setAttribute("aria-hidden", "true"); // its frame says in words what it shows
  } catch (error) {
    place.textContent = `This figure could not be drawn (${error.message}); its numbers are below.`;
  }
}

function showContenders() {
  for (const chart of charts.values()) {
    if (chart.view) chart.view.signal("hidden", [...hidden]).runAsync();
  }
}

// ---- linear and logarithmic ----

function eachScale(node, axis, change) {
  if (Array.isArray(node)) node.forEach((one) => eachScale(one, axis, change));
  else if (node && typeof node === "object") {
    const channel = node.encoding?.[axis];
    if (channel?.scale?.type) change(channel);
    for (const part of ["layer", "spec", "hconcat", "vconcat"]) if (node[part]) eachScale(node[part], axis, change);
  }
}

function typeOf(spec, axis) {
  let type = "";
  eachScale(spec, axis, (channel) => (type ||= channel.scale.type));
  return type;
}

function switchAxis(figure, axis, type) {
  const chart = chartOf(figure);
  const { domains, ticks } = chart.spec.usermeta.factorbench;
  const put = (object, name, value) => (value ? (object[name] = value) : delete object[name]);
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

// A picture that leaves the page has the colours of paper, whatever the page looks like.
async function picture(figure) {
  const ink = document.createElement("div");
  ink.className = "on-paper";
  document.body.append(ink);
  const colors = getComputedStyle(ink);
  const plain = (await chartOf(figure).view.toSVG(1)).replace(/var\((--[a-z]+)\)/g, (_, name) => colors.getPropertyValue(name).trim());
  ink.remove();
  return plain.replace(/^(<svg[^>]*>)/, '$1<rect width="100%" height="100%" fill="#fff"/>');
}

async function asPng(svg) {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [2 * image.width, 2 * image.height];
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function save(figure, kind) {
  const { stem, data } = chartOf(figure);
  if (kind === "csv") {
    const rows = await tableOf(data);
    const header = Object.keys(rows[0] ?? {});
    download(new Blob([toCsv([header, ...rows.map((row) => header.map((name) => row[name] ?? ""))])], { type: "text/csv" }), `${stem}.csv`);
    return;
  }
  await draw(figure);
  const svg = await picture(figure);
  download(kind === "svg" ? new Blob([svg], { type: "image/svg+xml" }) : await asPng(svg), `${stem}.${kind}`);
}

// ---- when ----

function drawLater(figures) {
  const near = new IntersectionObserver(
    (seen) => seen.filter((one) => one.isIntersecting).forEach((one) => (near.unobserve(one.target), draw(one.target))),
    { rootMargin: "400px" },
  );
  figures.forEach((figure) => near.observe(figure));
  const idle = window.requestIdleCallback ?? ((run) => setTimeout(run, 50));
  const waiting = [...figures];
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
}
