"""Text for every format: nothing unprintable is shown, and lines break between words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    return " " if char in "\t\n\r" or unicodedata.category(char) == "Zs" else REPLACEMENT


def printable(text: str) -> str:
    """The text on one line. Characters that could control a terminal or hide others (controls, escapes,
    changes of direction, lone surrogates) are replaced."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _after(marks: str) -> re.Pattern[str]:
    return re.compile(f"[^{marks}]*[{marks}]|[^{marks}]+")


NAME = (_after(" "), _after(" ="))
LABEL = (_after(" "), _after(" =_."))
CELL = (re.compile(r".+?(?:[;,] | (?=\()|$)"), _after(" _"))
"""Where lines may be broken, the best way first. Cells break between the items of a list and before a
bracket; names such as 'Llama 3 8B window=512' break between words and, where a word does not fit, after
'='."""

Size = Callable[[str], int]


def widest_piece(text: str, way: re.Pattern[str], size: Size = len) -> int:
    return max((size(piece.rstrip()) for piece in way.findall(text)), default=0)


def lines(text: str, width: int, ways: Sequence[re.Pattern[str]], size: Size = len) -> list[str]:
    """As few lines as hold the text, broken the first way that leaves none wider than `width`."""
    if size(text) <= width:
        return [text]
    way = next((way for way in ways if widest_piece(text, way, size) <= width), ways[-1])
    found = [""]
    for piece in way.findall(text):
        if found[-1].strip() and size((found[-1] + piece).rstrip()) > width:
            found.append("")
        found[-1] += piece
    return [line.rstrip() for line in found]
