// The page: contenders switched on and off, links into what is folded, print, and the page that is still being made.
"use strict";

const KEPT = "factorbench"; // where the state is kept from one load of a page that is being made to the next

// ---- contenders ----

function countContenders(boxes) {
  const on = boxes.filter((box) => box.checked).length;
  document.getElementById("shown").textContent = on === boxes.length ? `all ${on} shown` : `${on} of ${boxes.length} shown`;
}

function startContenders() {
  const panel = document.querySelector(".contenders");
  const boxes = [...panel.querySelectorAll("input")];
  const update = () => {
    hidden.clear();
    boxes.filter((box) => !box.checked).forEach((box) => hidden.add(box.value));
    countContenders(boxes);
    showContenders();
  };
  panel.hidden = boxes.length < 2;
  panel.open = window.matchMedia("(min-width: 50rem)").matches;
  panel.addEventListener("change", update);
  for (const [id, checked] of [["all", true], ["none", false]]) {
    document.getElementById(id).addEventListener("click", () => {
      boxes.forEach((box) => (box.checked = checked));
      update();
    });
  }
  countContenders(boxes);
  const room = () => document.documentElement.style.setProperty("--stuck", `${panel.offsetHeight}px`); // links stop below it
  new ResizeObserver(room).observe(panel);
}

// ---- what is folded ----

function unfold(element) {
  for (let one = element; one; one = one.parentElement) if (one instanceof HTMLDetailsElement) one.open = true;
}

function followLink() {
  let target = null;
  try {
    target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  } catch {
    // a hash that nobody can read leads nowhere
  }
  if (!target) return;
  unfold(target);
  target.scrollIntoView();
}

function startFolds() {
  window.addEventListener("hashchange", followLink);
  if (location.hash) followLink();
  for (const fold of document.querySelectorAll("details.case")) {
    fold.addEventListener("toggle", () => window.dispatchEvent(new Event("resize"))); // figures take the width that is there
  }
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details.case:not([open])")];
    folded.forEach((fold) => (fold.open = true));
  });
  window.addEventListener("afterprint", () => folded.forEach((fold) => (fold.open = false)));
}

// ---- while it is being made ----

function keep() {
  const folds = [...document.querySelectorAll("details[data-key]")].map((one) => [one.dataset.key, one.open]);
  const fields = [...document.querySelectorAll("input[data-key]")].map((one) => [one.dataset.key, one.value]);
  const state = { scroll: window.scrollY, folds, fields, hidden: [...hidden], saved: Date.now() };
  sessionStorage.setItem(KEPT, JSON.stringify(state));
}

function restore() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  sessionStorage.removeItem(KEPT);
  if (!kept || Date.now() - kept.saved > 60000) return;
  const of = (kind, key) => document.querySelector(`${kind}[data-key="${CSS.escape(key)}"]`);
  for (const [key, open] of kept.folds) of("details", key)?.toggleAttribute("open", open);
  for (const [key, value] of kept.fields.filter(([, value]) => value)) {
    const field = of("input", key);
    if (!field) continue;
    field.value = value;
    field.dispatchEvent(new Event("input"));
  }
  const boxes = [...document.querySelectorAll(".contenders input")].filter((box) => kept.hidden.includes(box.value));
  boxes.forEach((box) => (box.checked = false));
  boxes[0]?.dispatchEvent(new Event("change", { bubbles: true }));
  window.scrollTo(0, kept.scroll);
}

function startReloading() {
  const seconds = Number(document.querySelector('meta[name="factorbench-reload"]')?.content ?? 0);
  try {
    restore();
  } catch {
    // a browser that keeps nothing loads the page at its top
  }
  if (!seconds) return;
  const pause = document.getElementById("pause");
  pause.hidden = false;
  pause.addEventListener("click", () => pause.setAttribute("aria-pressed", String(pause.getAttribute("aria-pressed") !== "true")));
  let moved = 0;
  for (const kind of ["pointermove", "keydown", "focusin"]) window.addEventListener(kind, () => (moved = Date.now()));
  const busy = () =>
    pause.getAttribute("aria-pressed") === "true" ||
    document.documentElement.dataset.drawn !== "all" || // where drawing takes longer than the pages last, none would be seen
    Date.now() - moved < 2000 || // someone is pointing at something
    document.activeElement?.matches("input[type=search], :focus-visible") || // the place of whoever uses the keyboard
    !document.getSelection().isCollapsed;
  const again = () => {
    if (busy()) return setTimeout(again, 1000);
    try {
      keep();
    } catch {
      // as above
    }
    return location.reload();
  };
  setTimeout(again, 1000 * seconds);
}

startTables();
startContenders();
startCharts();
startFolds();
startReloading();
