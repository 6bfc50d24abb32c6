// The page of single requests.

import { ask, tell } from "./ask.js";
import { fill } from "./table.js";

const kind = document.getElementById("kind");
const model = document.getElementById("model");
const asked = new URLSearchParams(location.search);
const NOTHING = {
  failed: "None has failed.",
  slow: "None has ended in the last half hour.",
  long: "None has generated tokens in the last half hour.",
};

async function show() {
  const about = new URLSearchParams({ kind: kind.value });
  try {
    const requests = (await ask(`requests?${about}`))[kind.value];
    choices(requests.map((request) => request.model));
    const chosen = requests.filter((request) => !model.value || request.model === model.value);
    const caption = kind.selectedOptions[0].textContent;
    fill(document.getElementById("requests"), caption, chosen, NOTHING[kind.value]);
    tell(`${chosen.length} of ${new Date().toLocaleTimeString()}`, false);
  } catch (error) {
    tell(String(error), true);
  }
  if (model.value) about.set("model", model.value);
  history.replaceState(null, "", `requests?${about}`);
}

// All models that were seen.
function choices(models) {
  const known = new Set([...model.options].map((option) => option.value));
  for (const name of new Set(models)) {
    if (!known.has(name)) model.add(new Option(name, name));
  }
}

if (asked.get("kind") in NOTHING) kind.value = asked.get("kind");
if (asked.get("model")) {
  choices([asked.get("model")]);
  model.value = asked.get("model");
}
for (const element of [kind, model]) element.addEventListener("change", show);
document.getElementById("again").addEventListener("click", show);
show();
