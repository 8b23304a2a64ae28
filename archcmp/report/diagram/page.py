"""A drawing as one HTML file that needs no other file."""

from __future__ import annotations

from html import escape

from archcmp.report.formats._text import printable

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; color: #1a1a1a; background: #f6f7f9; }}
h1 {{ font-size: 1.4rem; }}
.drawing {{ width: max-content; max-width: 100%; overflow-x: auto; background: #fff; border-radius: 8px; }}
.drawing svg {{ display: block; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e4e4e4; background: #16181c; }} }}
@media print {{ body {{ margin: 0; background: #fff; color: #000; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<main class="drawing" tabindex="0" role="region" aria-label="Drawing">
{svg}</main>
</body>
</html>
"""


def to_page(title: str, svg: str) -> str:
    """A page with a title and an SVG, which is always on white. It has no script and no links."""
    return _PAGE.format(title=escape(printable(title)), svg=svg)
