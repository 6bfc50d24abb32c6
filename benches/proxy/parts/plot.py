"""Lines over a logarithmic scale, as SVG."""

import math

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 300, 200, 40, 40, 40
COLORS = ["#c2410c", "#1d4ed8"]


def drawn(panels, y_unit):
    """`panels`: a unit of x, and by the name of a line its points."""
    most = max(y for _, lines in panels for points in lines.values() for _, y in points)
    names = list(panels[0][1])
    width, height = len(panels) * (LEFT + WIDTH) + 20, TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(LEFT, 15, y_unit, "start"),
    ]
    for number, name in enumerate(names):
        parts.append(text(LEFT + 120 + 90 * number, 15, f"● {name}", "start", COLORS[number]))
    for number, (unit, lines) in enumerate(panels):
        parts += panel(number * (LEFT + WIDTH) + LEFT, unit, lines, ticks(most))
    return "\n".join([*parts, "</svg>", ""])


def panel(left, unit, lines, steps):
    xs = [x for x, _ in next(iter(lines.values()))]
    low, span = math.log(xs[0]), math.log(xs[-1]) - math.log(xs[0])
    inner = WIDTH - 40

    def place(x, y):
        return left + 15 + inner * (math.log(x) - low) / span, TOP + HEIGHT * (1 - y / steps[-1])

    parts = [text(left + WIDTH / 2 - 10, TOP + HEIGHT + 32, unit)]
    for tick in steps:
        y = place(xs[0], tick)[1]
        parts.append(f'<path d="M{left} {y:.1f}h{WIDTH - 10}" stroke="#ddd"/>')
        parts.append(text(left - 5, y + 4, f"{tick:g}", "end"))
    parts += [text(place(x, 0)[0], TOP + HEIGHT + 15, f"{x}") for x in xs]
    for color, points in zip(COLORS, lines.values(), strict=False):
        places = [place(x, y) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
    return parts


def ticks(most):
    """From nothing to beyond the greatest, in steps that are easily read."""
    size = 10 ** math.floor(math.log10(most / 4))
    size *= next(times for times in (1, 2, 5, 10) if 5 * times * size >= most)
    return [size * number for number in range(math.ceil(most / size) + 1)]


def text(x, y, said, anchor="middle", color="#333"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{said}</text>'
