"use strict";
const topic = document.getElementById("topic");
const outcome = document.getElementById("outcome");
const text = document.getElementById("text");
const fits = {
  "": () => true,
  "not-pass": (outcomes) => outcomes.some((one) => one !== "pass"),
};
function apply() {
  const wanted = fits[outcome.value] ?? ((outcomes) => outcomes.includes(outcome.value));
  const words = text.value.toLowerCase();
  let shown = 0;
  for (const section of document.querySelectorAll("section")) {
    let inSection = 0;
    for (const row of section.querySelectorAll("tbody tr")) {
      const show = (!topic.value || topic.value === section.dataset.topic) &&
        wanted(row.dataset.outcomes.split(" ")) && row.textContent.toLowerCase().includes(words);
      row.hidden = !show;
      inSection += show;
    }
    section.hidden = inSection === 0;
    shown += inSection;
  }
  document.getElementById("nothing").hidden = shown > 0;
}
document.getElementById("filters").addEventListener("input", apply);
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
// A browser may remember what was chosen.
apply();
