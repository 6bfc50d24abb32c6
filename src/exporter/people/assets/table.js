// Requests that have ended, as a table. What a request brought is only ever text.

// How a column is called, and what is in it.
const COLUMNS = [
  ["ended", (r) => new Date(r.ended * 1000).toLocaleTimeString()],
  ["id", (r) => r.request_id ?? r.traceparent],
  ["model", (r) => (r.upstream ? `${r.model} @ ${r.upstream}` : r.model)],
  ["how", (r) => `${r.outcome}: ${r.reason}`],
  ["status", (r) => r.status],
  ["error", (r) => [r.error_type, r.error_code, r.error_param, r.error_message].filter(Boolean).join(" · ")],
  ["took", (r) => seconds(r.duration_seconds)],
  ["queue", (r) => seconds(r.queue_seconds)],
  ["prefill", (r) => seconds(r.prefill_seconds)],
  ["decode", (r) => seconds(r.decode_seconds)],
  ["prompt", (r) => r.prompt_tokens],
  ["generated", (r) => (r.token_source === "counted" ? `≈ ${r.generated_tokens}` : r.generated_tokens)],
  ["endpoint", (r) => r.endpoint],
  ["tenant", (r) => r.tenant],
  ["KV then", (r) => percent(r.engine.kv_usage)],
  ["running, waiting then", (r) => pair(r.engine.running, r.engine.waiting)],
  ["GPUs then", (r) => r.gpus.map((gpu) => percent(gpu.utilization) ?? "?").join(" ")],
];

export const seconds = (time) => {
  if (time === null || time === undefined) return null;
  if (time < 1) return `${+(time * 1000).toPrecision(3)} ms`;
  return `${time < 100 ? +time.toPrecision(3) : Math.round(time)} s`;
};

export const percent = (ratio) =>
  ratio === null || ratio === undefined ? null : `${+(ratio * 100).toFixed(ratio < 0.1 ? 1 : 0)} %`;

const pair = (one, other) => (one === null && other === null ? null : `${one ?? "–"}, ${other ?? "–"}`);

// Fills a table; columns that are empty in all rows are left out.
export function fill(table, caption, requests, nothing) {
  const rows = requests.map((request) => COLUMNS.map(([, text]) => text(request) ?? ""));
  const shown = COLUMNS.map((_, i) => rows.some((row) => row[i] !== ""));
  const cells = (made) => COLUMNS.map(made).filter((_, i) => shown[i]);
  const head = element("tr", cells(([name]) => cell("th", name, { scope: "col" })));
  const body = rows.map((row, at) => {
    const line = element("tr", cells(([name], i) => cell("td", row[i], { className: name.split(" ")[0] })));
    line.classList.add(requests[at].outcome);
    return line;
  });
  if (requests.length === 0) body.push(element("tr", [cell("td", nothing)]));
  table.replaceChildren(
    cell("caption", caption),
    element("thead", requests.length === 0 ? [] : [head]),
    element("tbody", body),
  );
}

function element(name, children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function cell(name, text, attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.textContent = text;
  return made;
}
