# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The diagrams of the documentation, as SVG: ``python docs/images/diagrams.py``."""

from __future__ import annotations

from pathlib import Path

INK, GRAY, BLUE, ORANGE, GREEN = "#1f2937", "#6b7280", "#2563eb", "#d97706", "#059669"
PALE_BLUE, PALE_ORANGE, PALE_GREEN, PALE = "#dbeafe", "#ffedd5", "#d1fae5", "#f3f4f6"
HEADS = {INK: "ink", GRAY: "gray", BLUE: "blue", ORANGE: "orange", GREEN: "green"}


class Svg:
    """Shapes of one image, in pixels from its upper left corner."""

    def __init__(self, width: int, height: int) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="Helvetica, Arial, sans-serif" font-size="14">',
            "<defs>",
            *(
                f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
                f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{color}"/></marker>'
                for color, name in HEADS.items()
            ),
            '<pattern id="hole" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            f'<rect width="6" height="6" fill="white"/><line x1="0" y1="0" x2="0" y2="6" stroke="{GRAY}"/></pattern>',
            "</defs>",
            f'<rect width="{width}" height="{height}" fill="white"/>',
        ]

    def line(
        self, x1: float, y1: float, x2: float, y2: float, color: str = INK, *,
        arrow: bool = False, both: bool = False, dash: bool = False, width: float = 1.5,
    ) -> None:  # fmt: skip
        end = f' marker-end="url(#{HEADS[color]})"' if arrow or both else ""
        start = f' marker-start="url(#{HEADS[color]})"' if both else ""
        marks = end + start + (' stroke-dasharray="5 4"' if dash else "")
        self.parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{color}" stroke-width="{width}"{marks}/>'
        )

    def path(self, d: str, color: str = INK) -> None:
        self.parts.append(
            f'<path d="{d}" fill="none" stroke="{color}" stroke-width="1.5" marker-end="url(#{HEADS[color]})"/>'
        )

    def rect(
        self, x: float, y: float, w: float, h: float, fill: str = "white", color: str = INK, *, round_: float = 0
    ) -> None:
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{round_}" fill="{fill}" stroke="{color}"/>'
        )

    def dot(self, x: float, y: float, color: str = INK, r: float = 2.5) -> None:
        self.parts.append(f'<circle cx="{x}" cy="{y}" r="{r}" fill="{color}"/>')

    def text(
        self, x: float, y: float, words: str, color: str = INK, *, at: str = "start", size: int = 14, bold: bool = False
    ) -> None:
        words = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{x}" y="{y}" fill="{color}" text-anchor="{at}" font-size="{size}"{weight}>{words}</text>'
        )

    def box(self, x: float, y: float, w: float, h: float, lines: list[str], fill: str, color: str = INK) -> None:
        """A rounded box with centered lines, the first of them bold."""
        self.rect(x, y, w, h, fill, color, round_=6)
        top = y + h / 2 - 9 * (len(lines) - 1) + 5
        for number, line in enumerate(lines):
            first = number == 0
            self.text(x + w / 2, top + 18 * number, line, at="middle", size=14 if first else 12, bold=first)

    def save(self, name: str) -> None:
        Path(__file__).with_name(name).write_text("\n".join([*self.parts, "</svg>", ""]))


def draw_conventions() -> None:
    svg = Svg(900, 350)
    svg.text(20, 28, "Axes: OpenCV, cam2world", bold=True)
    x, y = 90, 150
    svg.line(x, y, x + 120, y, BLUE, arrow=True, width=2)
    svg.line(x, y, x, y + 120, GREEN, arrow=True, width=2)
    svg.line(x, y, x + 85, y - 70, ORANGE, arrow=True, width=2)
    svg.dot(x, y, r=5)
    svg.text(x - 12, y - 10, "camera", at="end")
    svg.text(x + 128, y + 5, "x, right", BLUE)
    svg.text(x + 8, y + 122, "y, down", GREEN)
    svg.text(x + 92, y - 72, "z, forward", ORANGE)

    svg.text(310, 28, "Depth: along z, not along the ray", bold=True)
    x, y, px, py = 380, 290, 480, 120
    svg.line(x, y, x, 60, ORANGE, arrow=True, width=2)
    svg.line(x, y, x + 150, y, BLUE, arrow=True, width=2)
    svg.text(x - 8, 66, "z", ORANGE, at="end")
    svg.text(x + 152, y + 18, "x", BLUE, at="end")
    svg.line(x, y, px, py, GRAY, dash=True)
    svg.line(x, py, px, py, GRAY, dash=True)
    svg.dot(px, py, INK, 5)
    svg.dot(x, y, INK, 5)
    svg.text(px + 10, py + 4, "point")
    svg.line(x - 22, y, x - 22, py, INK, both=True)
    svg.text(x - 30, (y + py) / 2, "depth", at="end", bold=True)
    svg.text((x + px) / 2 + 14, (y + py) / 2 + 16, "ray", GRAY)

    svg.text(590, 28, "Cells: centers at +0.5", bold=True)
    left, top, step = 620, 80, 48
    for row in range(4):
        for column in range(5):
            hit = (row, column) == (1, 3)
            svg.rect(left + column * step, top + row * step, step, step, PALE_BLUE if hit else "white", GRAY)
            svg.dot(left + (column + 0.5) * step, top + (row + 0.5) * step, GRAY)
    for column in range(6):
        svg.text(left + column * step, top - 8, str(column), at="middle", size=12)
    for row in range(5):
        svg.text(left - 8, top + row * step + 4, str(row), at="end", size=12)
    svg.text(left + 5 * step + 12, top - 8, "u", BLUE)
    svg.text(left - 12, top + 4 * step + 22, "v", GREEN)
    svg.dot(left + 3.7 * step, top + 1.3 * step, ORANGE, 5)
    svg.text(left, top + 4 * step + 44, "The point (u, v) = (3.7, 1.3) is in row 1, column 3,", size=12)
    svg.text(left, top + 4 * step + 60, "which covers [3, 4) x [1, 2) and has its center", size=12)
    svg.text(left, top + 4 * step + 76, "at (3.5, 1.5).", size=12)
    svg.save("conventions.svg")


def draw_grid(svg: Svg, x: float, y: float, cells: list[str], fill: str) -> None:
    step = 20
    for row, line in enumerate(cells):
        for column, cell in enumerate(line):
            color = "url(#hole)" if cell == "." else PALE_BLUE if cell == "#" else fill
            svg.rect(x + column * step, y + row * step, step, step, color, GRAY)


def draw_memory() -> None:
    svg = Svg(900, 400)
    svg.rect(20, 20, 860, 108, PALE, GRAY, round_=8)
    svg.text(36, 44, "Memory", bold=True)
    svg.text(36, 64, "one row per voxel: position, latent, footprint, stamp", size=12)
    for number in range(26):
        x, y = 380 + 18 * number, 92 - 26 * ((number * 7) % 11) / 10
        svg.rect(x, y, 11, 11, PALE_BLUE if number % 6 else PALE_GREEN, BLUE if number % 6 else GREEN)
    holes = ["######..", "######..", "#####...", "####...."]
    draw_grid(svg, 40, 222, holes, PALE_ORANGE)
    svg.text(120, 212, "latents and mask", at="middle", size=12)
    svg.text(120, 322, "striped: holes", GRAY, at="middle", size=12)
    draw_grid(svg, 400, 222, [line.replace(".", "o") for line in holes], PALE_ORANGE)
    svg.text(480, 212, "new latents", at="middle", size=12)
    svg.text(480, 322, "orange: generated", ORANGE, at="middle", size=12)
    svg.line(120, 130, 120, 194, BLUE, arrow=True, width=2)
    svg.text(132, 158, "1  Read", BLUE, bold=True)
    svg.text(132, 176, "splat into the cameras of the chunk", BLUE, size=12)
    svg.line(206, 262, 394, 262, ORANGE, arrow=True, width=2)
    svg.text(300, 252, "2  Generate", ORANGE, at="middle", bold=True)
    svg.text(300, 282, "the chunk model", ORANGE, at="middle", size=12)
    svg.text(300, 298, "fills the holes", ORANGE, at="middle", size=12)
    svg.line(566, 262, 634, 262, GREEN, arrow=True, width=2)
    svg.box(640, 190, 220, 144, [
        "3  Write", "decode, find the depth", "filter: sky, motion, edges", "carve what is gone",
        "view rule: what is new?", "unproject, insert",
    ], PALE_GREEN, GREEN)  # fmt: skip
    svg.line(750, 190, 750, 132, GREEN, arrow=True, width=2)
    svg.path("M750 336 L750 374 L120 374 L120 334", GRAY)
    svg.text(435, 366, "next chunk: the same steps, from new cameras", GRAY, at="middle", size=12)
    svg.save("memory.svg")


def draw_architecture() -> None:
    svg = Svg(900, 640)
    svg.text(20, 26, "mirage (needs numpy; diffusers and transformers for Wan2.2 only)", bold=True)
    floors = [
        ["cli"], ["training", "evaluation", "viewer"], ["models: wan, nano, embedded"], ["rollout", "recordings"],
        ["cameras", "depth", "filters"], ["data"], ["memory", "io"], ["geometry", "errors"],
    ]  # fmt: skip
    top, height, gap, width = 40, 32, 8, 860
    for floor, names in enumerate(floors):
        part = (width - gap * (len(names) - 1)) / len(names)
        y = top + floor * (height + gap)
        for number, name in enumerate(names):
            x = 20 + number * (part + gap)
            svg.rect(x, y, part, height, PALE_BLUE, BLUE, round_=5)
            svg.text(x + part / 2, y + 21, name, at="middle")
    y = top + len(floors) * (height + gap)
    svg.line(450, y, 450, y + 34, INK, arrow=True)
    svg.text(462, y + 22, "public names only", GRAY, size=12)
    y += 62
    svg.text(20, y - 8, "mirage_kernels (needs torch and safetensors)", bold=True)
    svg.box(20, y, 860, 44, ["Cameras, unproject, splat, VoxelCache, visible, overlap",
            "<op>.py: checks arguments, then calls torch.library"], PALE_ORANGE, ORANGE)  # fmt: skip
    backends = [
        ("reference", "<op>_reference.py"), ("triton", "<op>_triton.py"), ("cpp", "<op>_cpu.cpp, <op>_isa.cpp"),
        ("cuda", "<op>_cuda.cu, <op>_kernels.cuh"),
    ]  # fmt: skip
    part = (width - 3 * gap) / 4
    for number, (name, files) in enumerate(backends):
        x = 20 + number * (part + gap)
        svg.line(x + part / 2, y + 46, x + part / 2, y + 68, INK, arrow=True)
        svg.box(x, y + 70, part, 48, [name, files], PALE_ORANGE, ORANGE)
        if number > 1:
            svg.line(x + part / 2, y + 120, x + part / 2, y + 142, INK, arrow=True)
    x = 20 + 2 * (part + gap)
    svg.box(
        x,
        y + 144,
        2 * part + gap,
        48,
        ["csrc/<op>/<op>.h", "one body per decision, for CPU and GPU"],
        PALE_GREEN,
        GREEN,
    )
    svg.text(20, y + 164, "An arrow means: calls or imports.", GRAY, size=12)
    svg.text(20, y + 182, "Imports go down only; boxes in one row do not import each other.", GRAY, size=12)
    svg.save("architecture.svg")


def main() -> None:
    draw_conventions()
    draw_memory()
    draw_architecture()


if __name__ == "__main__":
    main()
