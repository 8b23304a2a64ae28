"""Figures as pictures: .svg and .png have them below each other, .pdf has a page for each."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from archcmp.report.plots.style import in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI, POINTS = 150, 72
_GAP_INCHES = 0.2
_SILENT = {"Creator": None, "Date": None, "Format": None, "Type": None}
"""Neither a date nor a version, so that the same figures give the same file."""
_IDS = re.compile(r' id="[^"]*_\d+"')
"""Numbers of groups, to which nothing refers, and which would be there twice in a page of several plots."""
_SIZE = re.compile(r' (width|height)="([\d.]+)pt"')


def _printed(figure: Figure, form: str, **options: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    picture = io.BytesIO()
    with in_style():
        FigureCanvasAgg(figure).print_figure(picture, format=form, **options)
    return picture.getvalue()


def _element(figure: Figure) -> str:
    """The <svg> element of one figure."""
    text = _printed(figure, "svg", metadata=_SILENT).decode()
    return _IDS.sub("", text[text.index("<svg") :]).rstrip()


def svg(figures: Sequence[Figure]) -> bytes:
    """Text stays text, in any sans-serif font."""
    elements = [_element(figure) for figure in figures]
    if len(elements) == 1:
        return f"{elements[0]}\n".encode()
    width = POINTS * max(figure.get_figwidth() for figure in figures)
    placed, top = [], 0.0
    for figure, element in zip(figures, elements, strict=True):
        unitless = _SIZE.sub(r' \1="\2"', element, count=2)  # the unit of the viewBox is a point
        placed.append(f'<g transform="translate(0 {top:g})">\n{unitless}\n</g>')
        top += POINTS * (figure.get_figheight() + _GAP_INCHES)
    height = top - POINTS * _GAP_INCHES
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="{width:g}pt" height="{height:g}pt" '
        f'viewBox="0 0 {width:g} {height:g}">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
    )
    return (opening + "\n".join(placed) + "\n</svg>\n").encode()


def png(figures: Sequence[Figure]) -> bytes:
    import numpy as np
    from matplotlib.image import imread, imsave

    shots = [imread(io.BytesIO(_printed(figure, "png", dpi=DPI))) for figure in figures]
    gap = round(DPI * _GAP_INCHES)
    size = sum(len(shot) for shot in shots) + gap * (len(shots) - 1), max(shot.shape[1] for shot in shots)
    page = np.ones((*size, shots[0].shape[2]), shots[0].dtype)
    top = 0
    for shot in shots:
        page[top : top + len(shot), : shot.shape[1]] = shot
        top += len(shot) + gap
    picture = io.BytesIO()
    imsave(picture, page, format="png", dpi=DPI)
    return picture.getvalue()


def pdf(figures: Sequence[Figure]) -> bytes:
    from matplotlib.backends.backend_pdf import PdfPages

    pages = io.BytesIO()
    with (
        in_style(),
        PdfPages(pages, metadata={"CreationDate": None, "Creator": None, "Producer": None}) as book,
    ):
        for figure in figures:
            book.savefig(figure)
    return pages.getvalue()


FORMATS: dict[str, Callable[[Sequence[Figure]], bytes]] = {".svg": svg, ".png": png, ".pdf": pdf}
