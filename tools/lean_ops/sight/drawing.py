"""Charts as inline SVG, drawn here: each is one picture of a few bars, with its numbers in words beside it.

Colours are classes of the page's style sheet, so that a chart is light or dark with the page; nothing in it
is a style or a script, which the page's content policy would refuse.
"""

from collections.abc import Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 480, 64


def bars(values: Sequence[int], said: str) -> Markup:
    """Bars over time, the oldest first; ``said``: the same in words, for who does not see it."""
    most = max(values, default=0) or 1
    step = _WIDTH / max(1, len(values))
    drawn = [
        Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            number * step + 1, _HEIGHT - 2 - height, step - 2, height
        )
        for number, value in enumerate(values)
        if (height := max(1.5, (_HEIGHT - 4) * value / most) if value else 0)
    ]
    line = Markup('<line class="axis" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(_WIDTH, _HEIGHT - 1)
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {} {}" preserveAspectRatio="none">'
        "<title>{}</title>{}{}</svg>"
    ).format(_WIDTH, _HEIGHT, escape(said), line, Markup("").join(drawn))


def span(begin: float, length: float, whole: float) -> Markup:
    """One bar on a line that stands for ``whole``; its numbers stand beside it."""
    x = 100 * min(1.0, max(0.0, begin / whole)) if whole else 0.0
    width = max(0.8, 100 * min(1.0, length / whole)) if whole else 0.8
    return Markup(
        '<svg class="span" aria-hidden="true" viewBox="0 0 100 10" preserveAspectRatio="none">'
        '<line class="axis" x1="0" x2="100" y1="5" y2="5"/>'
        '<rect class="bar" x="{:.2f}" y="1" width="{:.2f}" height="8"/></svg>'
    ).format(min(x, 99.2), width)


def heat(value: int, most: int) -> int:
    """The step of a colour scale, 0 (nothing) to 5 (the most)."""
    return 0 if not value or not most else 1 + min(4, (value * 5 - 1) // most)
