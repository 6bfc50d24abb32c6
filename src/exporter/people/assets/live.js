// The live page: now, and the last quarter of an hour.

import { ask, tell } from "./ask.js";
import { Chart } from "./charts.js";
import { fill, percent, seconds } from "./table.js";

const MOST = 15 * 60;
const points = [];

// === How numbers are written ===

const number = (value) => (value >= 10000 ? `${(value / 1000).toFixed(0)}k` : value >= 100 ? value.toFixed(0) : String(+value.toPrecision(3)));
const rate = (value) => `${number(value)}/s`;
const bytes = (value) => (value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${(value / 2 ** 20).toFixed(0)} MiB`);
const ratio = (part, whole) => (part === null || !whole ? null : part / whole);
const sum = (values) => (values.every((value) => value === null) ? null : values.reduce((all, value) => all + (value ?? 0), 0));

// Green, yellow, red.
const kvClass = (usage) => (usage >= 0.92 ? "bad" : usage >= 0.85 ? "warn" : "good");

// === Now ===

const failureShare = (point) => ratio(point.failure, sum([point.success, point.failure, point.aborted]));

const NOW = [
  ["ended", (p) => sum([p.success, p.failure, p.aborted]), rate],
  ["of these failed", failureShare, percent, (share) => (share > 0.05 ? "bad" : share > 0 ? "warn" : "good")],
  ["in flight", (p) => sum([p.in_queue, p.in_prefill, p.in_decode]), number],
  ["waiting", (p) => p.waiting, number],
  ["running", (p) => p.running, number],
  ["queue, P95", (p) => p.queue?.[1] ?? null, seconds, (time) => (time > 2 ? "bad" : "")],
  ["first token, P95", (p) => p.first_token?.[1] ?? null, seconds],
  ["per token, P95", (p) => p.output_token?.[1] ?? null, seconds],
  ["generated tokens", (p) => p.generation_tokens, rate],
  ["share of prompts", (p) => ratio(p.prompt_tokens, sum([p.prompt_tokens, p.generation_tokens])), percent],
  ["KV cache in use", (p) => p.kv_usage, percent, kvClass],
  ["memory", (p) => p.resident_bytes, bytes],
];

// NB: not by colour alone.
const WORDS = { bad: " high", warn: " raised" };

function showNow(point) {
  const cards = NOW.map(([name, of, text, kind]) => {
    const card = document.createElement("div");
    const [term, value] = ["dt", "dd"].map((tag) => card.appendChild(document.createElement(tag)));
    const known = of(point);
    term.textContent = name;
    value.textContent = known === null ? "–" : text(known);
    if (known !== null && kind) value.className = kind(known);
    if (value.className in WORDS) value.append(Object.assign(document.createElement("small"), { textContent: WORDS[value.className] }));
    return card;
  });
  document.getElementById("now").replaceChildren(...cards);
}

// === Charts ===

const line = (name, colour, of, limit = false) => ({ name, colour, of, limit });
const quantiles = (of) => [["P50", "one"], ["P95", "two"], ["P99", "three"]].map(([name, colour], i) => line(name, colour, (p) => of(p)?.[i]));

const CHARTS = [
  ["Requests that ended", [line("success", "good", (p) => p.success), line("failure", "bad", (p) => p.failure), line("aborted", "warn", (p) => p.aborted)], rate],
  ["Requests in flight", [line("no content yet", "two", (p) => p.in_queue), line("prefill", "three", (p) => p.in_prefill), line("decode", "one", (p) => p.in_decode)], number],
  ["Running and waiting", [line("running", "one", (p) => p.running), line("waiting", "two", (p) => p.waiting), line("limit", "bad", (p) => p.running_limit, true)], number],
  ["Time in queue, last minute", quantiles((p) => p.queue), seconds],
  ["Time to first token, last minute", quantiles((p) => p.first_token), seconds],
  ["Time per output token, last minute", quantiles((p) => p.output_token), seconds],
  ["Tokens", [line("generated", "one", (p) => p.generation_tokens), line("prompt", "two", (p) => p.prompt_tokens)], rate],
  ["KV cache in use", [line("slots filled", "one", (p) => p.kv_usage), line("blocks in use", "two", (p) => ratio(p.blocks_used, p.blocks_total))], percent, { most: 1, marks: [[0.85, "warn"], [0.92, "bad"]] }],
  ["Memory of the process", [line("resident", "one", (p) => p.resident_bytes)], bytes],
];

let charts = null;
let gpuCharts = null;

function showCharts() {
  const place = document.getElementById("charts");
  charts ??= CHARTS.map(([title, lines, text, more]) => new Chart(place, title, lines, text, more));
  charts.forEach((chart) => chart.set(points));
}

// === GPUs ===

const COLOURS = ["one", "two", "three", "good", "bad", "soft"];

function showGpus(gpus) {
  document.getElementById("gpus").hidden = gpus.length === 0;
  if (gpus.length === 0) return;
  const rows = gpus.map((gpu) => [
    gpu.gpu,
    gpu.name,
    percent(gpu.utilization),
    gpu.memory_used_bytes === null ? null : `${bytes(gpu.memory_used_bytes)} of ${gpu.memory_total_bytes === null ? "?" : bytes(gpu.memory_total_bytes)}`,
    gpu.power_watts === null ? null : `${gpu.power_watts.toFixed(0)} W`,
    gpu.temperature_celsius === null ? null : `${gpu.temperature_celsius.toFixed(0)} °C`,
  ]);
  const table = document.getElementById("devices");
  table.replaceChildren();
  table.createCaption().textContent = "What each tells now";
  const head = table.createTHead().insertRow();
  for (const name of ["GPU", "name", "busy", "memory", "power", "temperature"]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = name;
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const text of row) line.insertCell().textContent = text ?? "–";
  }
  // NB: for those that were there first; a GPU that comes later is in the table.
  gpuCharts ??= newGpuCharts(gpus.map((gpu) => gpu.gpu));
  gpuCharts.forEach((chart) => chart.set(points));
}

function newGpuCharts(gpus) {
  const place = document.getElementById("gpu-charts");
  const lines = (of) => gpus.map((gpu, i) => line(`GPU ${gpu}`, COLOURS[i % COLOURS.length], (p) => {
    const found = p.gpus.find((one) => one.gpu === gpu);
    return found ? of(found) : null;
  }));
  return [
    new Chart(place, "Busy", lines((gpu) => gpu.utilization), percent, { most: 1 }),
    new Chart(place, "Memory in use", lines((gpu) => ratio(gpu.memory_used_bytes, gpu.memory_total_bytes)), percent, { most: 1 }),
    new Chart(place, "Power", lines((gpu) => gpu.power_watts), (watts) => `${watts.toFixed(0)} W`),
    new Chart(place, "Temperature", lines((gpu) => gpu.temperature_celsius), (degrees) => `${degrees.toFixed(0)} °C`),
  ];
}

// === Requests ===

async function showRequests() {
  const { failed } = await ask("requests?kind=failed&limit=8");
  fill(document.getElementById("failed"), "Failed last, or given up by their client", failed, "None has failed.");
  const { slow } = await ask("requests?kind=slow&limit=8");
  fill(document.getElementById("slow"), "Slowest of the last hour", slow, "None has ended yet.");
}

// === The loop ===

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// How old the last second may be, until the page says so.
const LATE = 5;

let process = null;

// What is new; after another start of the process all of it.
async function news() {
  const answer = await ask(`live?since=${points.at(-1)?.number ?? 0}`);
  if (answer.began === process) return answer;
  process = answer.began;
  points.length = 0;
  return ask("live");
}

async function go() {
  for (let round = 0; ; round += 1) {
    try {
      const { model, age, points: more } = await news();
      points.push(...more);
      points.splice(0, Math.max(0, points.length - MOST));
      const last = points.at(-1);
      if (last && !document.hidden) {
        if (model) document.getElementById("model").textContent = model;
        showNow(last);
        showCharts();
        showGpus(last.gpus);
        if (round % 5 === 0) await showRequests();
      }
      const isLate = age > LATE;
      tell(isLate ? `nothing new for ${age.toFixed(0)} s` : "live", isLate);
    } catch (error) {
      tell(`no answer: ${error.message}`, true);
    }
    await sleep(1000);
  }
}

go();
