"""The roles of boxes, and the colours that tell them apart in every output."""

from __future__ import annotations

from typing import NamedTuple


class Role(NamedTuple):
    """What the legend calls a role, '' for one that needs no word; fill and outline in pictures; the colour
    in a terminal, '' for that of the text."""

    name: str
    fill: str
    outline: str
    terminal: str = ""


ROLES = {
    "embedding": Role("embedding", "#d9ead3", "#38761d", "green"),
    "norm": Role("norm", "#fff2cc", "#9a6b00", "yellow"),
    "mixer": Role("token mixer", "#d0e0f5", "#1c4f94", "bright_blue"),
    "ffn": Role("feed-forward", "#f8dcc8", "#a8480d", "red"),
    "projection": Role("projection", "#eef0f3", "#5b6573"),
    "position": Role("position", "#e5dbf2", "#5e3a94", "magenta"),
    "choice": Role("choice", "#f5d5e0", "#9c1f4d", "magenta"),
    "gate": Role("gate or activation", "#d3ecea", "#14665f", "cyan"),
    "scale": Role("factor or streams", "#e8e4d8", "#6b5f35"),
    "head": Role("output", "#dde5cf", "#4a5d23", "green"),
    "tokens": Role("", "#ffffff", "#555555"),
}
"""In the order of the legend."""
OTHER = "scale"
"""The role whose colours a role without colours of its own has."""
