"""Draws the pauses of the collector's modes as an SVG: one row for each, one tick for each stop of the world, on a logarithmic axis."""

import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP, ROW = 860, 190, 20, 56, 64
LEAST_US, MOST_US = 1.0, 1e7
FONT, SMALL = (f'font-family="sans-serif" font-size="{size}"' for size in (13, 11))


def x_of(us):

    share = math.log10(min(max(us, LEAST_US), MOST_US) / LEAST_US) / math.log10(MOST_US / LEAST_US)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def draw(title, rows):
    """rows: (name, note, pauses in µs). Returns the text of the file."""
    height = TOP + ROW * len(rows) + 40
    bottom = TOP + ROW * len(rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="24" {FONT} font-weight="bold">{escape(title)}</text>',
    ]
    for us, label in ((1, "1 µs"), (10, "10 µs"), (100, "100 µs"), (1e3, "1 ms"), (1e4, "10 ms"), (1e5, "100 ms"), (1e6, "1 s"), (1e7, "10 s")):
        x = x_of(us)
        out.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        out.append(f'<text x="{x:.1f}" y="{bottom + 20}" {FONT} text-anchor="middle" fill="#555">{label}</text>')
    for i, (name, note, pauses) in enumerate(rows):
        y = TOP + ROW * i
        out.append(f'<text x="12" y="{y + 24}" {FONT} font-weight="bold">{escape(name)}</text>')
        out.append(f'<text x="12" y="{y + 42}" {SMALL} fill="#555">{escape(note)}</text>')
        out.append(f'<line x1="{LEFT}" y1="{y + 44}" x2="{WIDTH - RIGHT}" y2="{y + 44}" stroke="#bbb"/>')
        for us in pauses:
            x = x_of(us)
            out.append(f'<line x1="{x:.1f}" y1="{y + 12}" x2="{x:.1f}" y2="{y + 44}" stroke="#0a5fb4" stroke-width="2" stroke-opacity="0.55"/>')
        if pauses:
            longest = max(pauses)
            text = f"{longest / 1e3:.1f} ms" if longest >= 1e3 else f"{longest:.0f} µs"
            anchor = "end" if x_of(longest) > WIDTH - 90 else "start"
            shift = -6 if anchor == "end" else 6
            out.append(f'<text x="{x_of(longest) + shift:.1f}" y="{y + 22}" {SMALL} text-anchor="{anchor}">{text}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
