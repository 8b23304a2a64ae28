"""Where figures are from: the machine, the conventions, the command that asks again, the document."""

from __future__ import annotations

import base64
import gzip
import shlex
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from archcmp.report.page.markup import bullets, definitions, paragraphs, scrolling, text
from archcmp.report.page.section import Section
from archcmp.report.page.words import listed
from archcmp.report.table import BLANK
from archcmp.report.tables import provenance
from archcmp.report.tables.effects import conventions_note
from archcmp.results.command import command_of
from archcmp.results.document import Document, Environment
from archcmp.results.store import to_text
from archcmp.results.timings import RESOLUTION, Rates
from archcmp.spec.yaml.find import SUFFIXES
from archcmp.units import Bytes, Flops


def environment(doc: Document) -> Iterator[Section]:
    """The machine and the versions, and what the numbers mean."""
    body = [definitions(_environment(doc.environment)), '<p class="name">Conventions</p>']
    body.append(bullets(_conventions(doc)))
    yield Section("Environment and conventions", "\n".join(body))


def _rates(rates: Rates) -> str:
    matmul, memory = Flops(rates.matmul_flops_per_s), Bytes(rates.memory_bytes_per_s)
    return f"{matmul}/s of a large matmul, {memory}/s of memory"


_LABELS = {"memory_bytes": "memory", "rates": "best rates", "fresh_rates": "rates of this run"}
_LABELS |= {"compiled": "code", "device_name": "device name", "thread_binding": "thread binding"}
_UNITS: dict[str, Callable[[Any], str]] = {
    "memory_bytes": lambda n: str(Bytes(n)),
    "rates": _rates,
    "fresh_rates": _rates,
    "compiled": lambda compiled: "compiled" if compiled else "eager",
    "busy": lambda busy: "yes" if busy else "no",
}


def _environment(found: Environment) -> Iterator[tuple[str, str]]:
    for name, value in vars(found).items():
        if value is not None:
            yield _LABELS.get(name, name), text(_UNITS.get(name, str)(value))


def _conventions(doc: Document) -> Iterator[str]:
    yield conventions_note(doc)
    yield "A multiply-add is 2 FLOPs. K, M, B and T are powers of 1,000; KiB, MiB and GiB powers of 1,024."
    yield "Ratios and differences are against the first model, unless a table says otherwise."
    if doc.measured or doc.request.measure:
        yield (
            f"Speeds within {100 * RESOLUTION:g} % are taken for equal. Faster, slower and no difference "
            "hold for the whole interval; otherwise the verdict is undecided."
        )
    yield f"{BLANK} was not measured, or there is nothing to show."


def reproduced(doc: Document) -> Iterator[Section]:
    """The command, and the versions that it ran with."""
    words = command_of(doc)
    line = shlex.join(words)
    notes = [f"Made {provenance(doc)}."]
    if words and line.isprintable():
        command = scrolling("command", f"<pre><code>{text(line)}</code></pre>")
        if any(suffix in word for word in words for suffix in SUFFIXES):
            notes.append("A path is a file of the author's; its resolved spec is in the raw document.")
    else:
        command = ""
        notes.append("No command line names these models. Their resolved specs are in the raw document.")
    if doc.sources:
        notes.append(f"The figures of {listed(list(doc.sources))} are from other runs, and not made by it.")
    notes.append(f"The raw document, saved, makes this page again: archcmp report {doc.kind}.json")
    yield Section("How to reproduce it", command + paragraphs(notes))


MOST_SHOWN = 300_000
"""Characters of a document that is shown as text. A longer one is packed, so that the page stays small."""


def raw(doc: Document) -> Iterator[Section]:
    """The document itself, to read and to save; JSON escapes all that is not ASCII."""
    data, name = to_text(doc), f"{doc.kind}.json"
    if len(data) > MOST_SHOWN:
        packed = base64.b64encode(gzip.compress(data.encode(), mtime=0)).decode()
        address = f"data:application/gzip;base64,{packed}"
        link = f'<a download="{text(name)}.gz" href="{address}">Save {text(name)}.gz</a>'
        body = f"<p>{link}: {len(data):,} bytes of JSON, packed by gzip.</p>"
    else:
        button = f'<p><button class="save" hidden data-name="{text(name)}">Save {text(name)}</button></p>'
        shown = f'<pre class="data">{escape(data, quote=False)}</pre>'
        body = button + scrolling("raw document", shown)
    yield Section("Raw document", body, is_open=False, kind="raw")
