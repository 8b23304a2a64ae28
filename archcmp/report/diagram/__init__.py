"""Pictures of architectures, drawn from the spec that is counted and run.

`picture` makes rows of the models, on which they are aligned; every output draws those. `svg` is the picture
of a page.
"""

from __future__ import annotations

from collections.abc import Sequence

from archcmp.report.diagram.about import summary
from archcmp.report.diagram.markup import to_svg
from archcmp.report.diagram.rows import picture as picture
from archcmp.report.diagram.scene import AMOUNTS, placed
from archcmp.report.diagram.subject import Subject as Subject

SCALES = tuple(AMOUNTS)
"""What the heights of boxes may be in proportion to."""


def svg(subjects: Sequence[Subject], scale: str | None = None) -> str:
    """The models side by side as a self-contained SVG. With `scale` (params or flops) the heights of boxes
    are in proportion to it."""
    drawn = picture(subjects)
    names = " and ".join(subject.name for subject in subjects)
    return to_svg(placed(drawn, scale), f"Architecture of {names}", summary(drawn))
