// The page of single requests.

import { ask, tell } from "./ask.js";
import { fill } from "./table.js";

const kind = document.getElementById("kind");
const model = document.getElementById("model");
const asked = new URLSearchParams(location.search);
const NOTHING = {
  failed: "None has failed.",
  slow: "None has ended in the last hour.",
  long: "None has generated tokens in the last hour.",
};

let newest = 0;

async function show() {
  const [which, number] = [kind.value, (newest += 1)];
  const about = new URLSearchParams({ kind: which });
  try {
    const requests = (await ask(`requests?${about}`))[which];
    // NB: something else was asked for meanwhile.
    if (number !== newest) return;
    choices(requests.map((request) => request.model));
    const chosen = requests.filter((request) => !model.value || request.model === model.value);
    const caption = kind.selectedOptions[0].textContent;
    fill(document.getElementById("requests"), caption, chosen, NOTHING[which]);
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

if (Object.hasOwn(NOTHING, asked.get("kind"))) kind.value = asked.get("kind");
if (asked.get("model")) {
  choices([asked.get("model")]);
  model.value = asked.get("model");
}
for (const element of [kind, model]) element.addEventListener("change", show);
document.getElementById("again").addEventListener("click", show);
show();
