"""How wide a text is. The widths are those of DejaVu Sans, the widest of the fonts that a picture names, so
that a text fits in Helvetica, Arial and Liberation Sans, too."""

from __future__ import annotations

import re

FONTS = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"

_WIDTHS = {
    **{
        27: "'",
        28: "ijl",
        29: "IJ",
        32: " ,.\u00b7",
        34: "/:;\\|",
        35: "f",
        36: "-",
        39: "()[]t",
        40: "!\u00b2",
    },
    **{41: "r", 46: '"', 50: "*_`", 52: "sz", 53: "?", 55: "c", 56: "L", 58: "Fk", 59: "vxy", 60: "P"},
    **{61: "TYao", 62: "e", 63: "ESbdghnpqu", 64: "$0123456789{}", 66: "K", 68: "AV", 69: "BRXZ", 70: "C"},
    **{
        73: "U",
        75: "HN",
        77: "DG",
        78: "&",
        79: "OQ",
        82: "w",
        84: "#+<=>^~\u00d7",
        86: "M",
        95: "%",
        97: "m",
    },
    **{99: "W", 100: "@"},
}
_WIDTH = {letter: width / 100 for width, letters in _WIDTHS.items() for letter in letters}
_BOLD = 1.16


def text_width(text: str, size: float, bold: bool = False) -> float:
    """The width of a text in a font of `size`; letters of other scripts count as the widest."""
    return sum(_WIDTH.get(letter, 1.0) for letter in text) * size * (_BOLD if bold else 1)


def wrapped(text: str, size: float, width: float, bold: bool = False) -> list[str]:
    """The lines of a text that is at most `width` wide. A word that is wider is broken at its hyphens, and
    what is wider still is cut."""
    lines: list[str] = []
    for word in text.split():
        fits = text_width(word, size, bold) <= width
        for i, part in enumerate([word] if fits else re.findall("[^-]*-|[^-]+", word)):
            joined = part if not lines else lines[-1] + (" " if i == 0 else "") + part
            if text_width(joined, size, bold) <= width:
                lines[-1:] = [joined]
            else:
                lines += _cut(part, size, width, bold)
    return lines


def _cut(word: str, size: float, width: float, bold: bool) -> list[str]:
    """A word in pieces that fit."""
    pieces = [""]
    for letter in word:
        if pieces[-1] and text_width(pieces[-1] + letter, size, bold) > width:
            pieces.append("")
        pieces[-1] += letter
    return pieces
