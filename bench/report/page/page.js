// The page: contenders shown and hidden, links into folded cases, printing, and reloading.
"use strict";

const STATE = "factorbench"; // key of the state in the session storage, while the page reloads

// ---- contenders ----

function countContenders(boxes) {
  const on = boxes.filter((box) => box.checked).length;
  const text = on === boxes.length ? `all ${on} shown` : `${on} of ${boxes.length} shown`;
  document.getElementById("shown").textContent = text;
}

function startContenders() {
  const panel = document.querySelector(".contenders");
  const bar = document.querySelector(".bar");
  const boxes = [...panel.querySelectorAll("input")];
  const update = () => {
    hidden.clear();
    boxes.filter((box) => !box.checked).forEach((box) => hidden.add(box.value));
    countContenders(boxes);
    showContenders();
  };
  panel.hidden = boxes.length < 2;
  panel.addEventListener("change", update);
  for (const [id, checked] of [["all", true], ["none", false]]) {
    document.getElementById(id).addEventListener("click", () => {
      boxes.forEach((box) => (box.checked = checked));
      update();
    });
  }
  countContenders(boxes);
  // The bar stays at the top of the window; what a link leads to must not be hidden behind it.
  const reserve = () => {
    document.documentElement.style.setProperty("--stuck", `${bar.offsetHeight}px`);
  };
  new ResizeObserver(reserve).observe(bar);
}

// ---- folds ----

function unfold(element) {
  for (let outer = element; outer; outer = outer.parentElement) {
    if (outer instanceof HTMLDetailsElement) outer.open = true;
  }
}

function followLink() {
  let target = null;
  try {
    target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  } catch {
    // A malformed hash leads nowhere.
  }
  if (!target) return;
  unfold(target);
  target.scrollIntoView();
}

function startFolds() {
  window.addEventListener("hashchange", followLink);
  if (location.hash) followLink();
  const folds = [...document.querySelectorAll("details.case, details.fold, details.unavailable")];
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = folds.filter((fold) => !fold.open);
    folded.forEach((fold) => (fold.open = true));
  });
  window.addEventListener("afterprint", () => folded.forEach((fold) => (fold.open = false)));
}

// ---- reloading, while the run is being measured ----

function saveState() {
  const folds = [...document.querySelectorAll("details[data-key]")];
  const fields = [...document.querySelectorAll("input[data-key]")];
  const state = {
    scroll: window.scrollY,
    folds: folds.map((fold) => [fold.dataset.key, fold.open]),
    fields: fields.map((field) => [field.dataset.key, field.value]),
    hidden: [...hidden],
    saved: Date.now(),
  };
  sessionStorage.setItem(STATE, JSON.stringify(state));
}

function restoreState() {
  const state = JSON.parse(sessionStorage.getItem(STATE) ?? "null");
  sessionStorage.removeItem(STATE);
  if (!state || Date.now() - state.saved > 60000) return;
  const find = (tag, key) => document.querySelector(`${tag}[data-key="${CSS.escape(key)}"]`);
  for (const [key, open] of state.folds) find("details", key)?.toggleAttribute("open", open);
  for (const [key, value] of state.fields) {
    const field = find("input", key);
    if (!field || !value) continue;
    field.value = value;
    field.dispatchEvent(new Event("input"));
  }
  const boxes = [...document.querySelectorAll(".contenders input")];
  const unchecked = boxes.filter((box) => state.hidden.includes(box.value));
  unchecked.forEach((box) => (box.checked = false));
  unchecked[0]?.dispatchEvent(new Event("change", { bubbles: true }));
  window.scrollTo(0, state.scroll);
}

function startReloading() {
  const seconds = Number(document.querySelector('meta[name="factorbench-reload"]')?.content ?? 0);
  try {
    restoreState();
  } catch {
    // Without session storage the page starts at its top.
  }
  if (!seconds) return;
  const pause = document.getElementById("pause");
  const isPaused = () => pause.getAttribute("aria-pressed") === "true";
  pause.hidden = false;
  pause.addEventListener("click", () => pause.setAttribute("aria-pressed", String(!isPaused())));
  let lastInput = 0;
  for (const kind of ["pointermove", "keydown", "focusin"]) {
    window.addEventListener(kind, () => (lastInput = Date.now()));
  }
  // Reloading waits while it would disturb the reader. It also waits until all figures are drawn:
  // where that takes longer than the interval, none would ever be seen.
  const isBusy = () =>
    isPaused() ||
    document.documentElement.dataset.drawn !== "all" ||
    Date.now() - lastInput < 2000 ||
    document.activeElement?.matches("input[type=search], :focus-visible") ||
    !document.getSelection().isCollapsed;
  const reload = () => {
    if (isBusy()) {
      setTimeout(reload, 1000);
      return;
    }
    try {
      saveState();
    } catch {
      // As above.
    }
    location.reload();
  };
  setTimeout(reload, 1000 * seconds);
}

startTables();
startContenders();
startCharts();
startFolds();
startReloading();
