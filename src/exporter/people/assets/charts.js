// One chart: lines over time, drawn by uPlot.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

const all = new Set();

export class Chart {
  // `lines`: a name, a colour, what it is of a point, and whether it is a limit.
  constructor(place, title, lines, text, { most = null, marks = [] } = {}) {
    Object.assign(this, { title, lines, text, most, marks, data: [[], ...lines.map(() => [])] });
    this.figure = document.createElement("figure");
    this.figure.tabIndex = 0;
    const caption = document.createElement("figcaption");
    caption.append(title);
    this.last = document.createElement("span");
    caption.append(this.last);
    this.canvas = document.createElement("div");
    // What a screen reader is told when a key goes through time.
    this.said = document.createElement("p");
    this.said.className = "said";
    this.said.setAttribute("aria-live", "polite");
    this.figure.append(caption, this.canvas, this.said);
    place.append(this.figure);
    this.draw();
    new ResizeObserver(() => this.plot.setSize(this.size())).observe(this.figure);
    this.figure.addEventListener("keydown", (event) => this.key(event));
    all.add(this);
  }

  set(points) {
    this.data = [points.map((point) => point.at), ...this.lines.map(({ of }) => points.map((point) => of(point) ?? null))];
    this.plot.setData(this.data);
    const last = this.lines.map(({ name }, i) => [name, this.data[i + 1].at(-1)]).filter(([, value]) => value !== null && value !== undefined);
    this.last.textContent = last.length ? `${last[0][0]} ${this.text(last[0][1])}` : "nothing yet";
    const words = last.map(([name, value]) => `${name} ${this.text(value)}`).join(", ");
    // NB: not while it is read from.
    if (document.activeElement === this.figure) return;
    this.figure.setAttribute("aria-label", `${this.title}, now: ${words || "nothing yet"}. Arrow keys go through time.`);
  }

  size() {
    return { width: Math.max(200, this.figure.clientWidth - 24), height: 150 };
  }

  // NB: colours are painted, so another scheme is another drawing.
  draw() {
    this.plot?.destroy();
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    const series = this.lines.map(({ name, colour: key, limit }) => ({
      label: name,
      stroke: colour(key),
      width: 1.5,
      dash: limit ? [5, 4] : undefined,
      points: { show: false },
      value: (_, value) => (value === null ? "–" : this.text(value)),
    }));
    this.plot = new uPlot(
      {
        ...this.size(),
        legend: { live: true },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: { y: { range: (_, least, most) => [0, this.most ?? Math.max((most ?? 0) * 1.1, 1e-6)] } },
        series: [{ label: "at", value: (_, at) => (at === null ? "–" : clock(at)) }, ...series],
        axes: [
          { ...axis, size: 26, space: 80, values: (_, times) => times.map(clock) },
          { ...axis, size: 58, values: (_, values) => values.map((value) => this.text(value)) },
        ],
        hooks: { draw: [(plot) => this.mark(plot)] },
      },
      this.data,
      this.canvas,
    );
  }

  // Lines where it becomes dangerous.
  mark(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.setLineDash([3, 3]);
    for (const [value, key] of this.marks) {
      const y = plot.valToPos(value, "y", true);
      ctx.strokeStyle = colour(key);
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
    }
    ctx.restore();
  }

  key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const times = this.data[0];
    if (step === undefined || times.length === 0) return;
    event.preventDefault();
    const at = Math.min(times.length - 1, Math.max(0, (this.plot.cursor.idx ?? times.length - 1) + step));
    this.plot.setCursor({ left: this.plot.valToPos(times[at], "x"), top: 10 });
    const words = this.lines.map(({ name }, i) => [name, this.data[i + 1][at]]).filter(([, value]) => value !== null);
    this.said.textContent = [clock(times[at]), ...words.map(([name, value]) => `${name} ${this.text(value)}`)].join(", ");
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => all.forEach((chart) => chart.draw()));
