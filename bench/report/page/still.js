// In place of what draws figures, where the library for that was not installed: they stay as they
// are in the page. This comes last: a function takes the place of an earlier one of its name.

function startContenders() {} // hiding one would change nothing

function addSwitches(figure) {
  // A button that saves a picture would save none.
  for (const button of figure.querySelectorAll(".save button")) {
    if (button.dataset.kind !== "csv") button.remove();
  }
}

async function embed(figure) {
  const place = figure.querySelector(".view");
  place.classList.add("drawn"); // no room is to be reserved
  if (place.querySelector("svg")) return;
  // What the page says where there is no JavaScript: which file has the picture or the numbers.
  const said = place.querySelector("noscript")?.textContent ?? "";
  const link = new DOMParser().parseFromString(said, "text/html").querySelector("a");
  if (!link) return;
  const note = document.createElement("p");
  note.append("The figure: ", link, " beside this file.");
  place.replaceChildren(note);
}
