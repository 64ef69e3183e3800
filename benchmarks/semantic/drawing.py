"""A drawing of hits and wrong answers along a stream, as SVG."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.semantic.driving import Outcome

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 320, 50, 40
_COLOURS = ("#1b4965", "#2a9d8f", "#e9a03b", "#c8553d")


def draw(title: str, curves: Mapping[str, Outcome]) -> str:
    """Solid lines are hits, dashed ones wrong answers, both as a share of all requests so far."""
    top = max((hits / seen for each in curves.values() for seen, hits, _ in each.curve), default=0.0) or 0.01
    longest = max((each.requests for each in curves.values()), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<text x="{_LEFT}" y="16">{title}: hits (solid) and wrong answers (dashed), share of requests so far</text>',
        f'<path d="M{_LEFT} 30V{_HEIGHT - _BOTTOM}H{_WIDTH - 10}" fill="none" stroke="#888"/>',
        f'<text x="6" y="36">{top:.0%}</text><text x="6" y="{_HEIGHT - _BOTTOM}">0 %</text>',
        f'<text x="{_WIDTH - 60}" y="{_HEIGHT - 20}">{longest:,}</text>',
    ]
    for number, (name, outcome) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        for which, dash in ((1, ""), (2, ' stroke-dasharray="4 3"')):
            points = " ".join(
                f"{_LEFT + (_WIDTH - 10 - _LEFT) * each[0] / longest:.1f},"
                f"{_HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - 30) * each[which] / each[0] / top:.1f}"
                for each in outcome.curve
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"{dash}/>')
        parts.append(f'<text x="{_LEFT + 10 + 130 * number}" y="{_HEIGHT - 20}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])
