"""The page of a document: whole, alone, and with nothing in it that a name could make of it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given

import archcmp
from archcmp.report.formats._text import printable
from archcmp.report.page import pictures
from archcmp.report.page import sections as parts
from archcmp.report.page.markup import grid
from archcmp.report.page.page import fragment, page
from archcmp.report.page.section import Section, spec_of
from archcmp.report.plots import title_of
from archcmp.report.tables import tables_of
from archcmp.results.document import Document, Model
from archcmp.results.store import read, to_text
from tests.report.documents import counted, measured
from tests.report.samples import one, tables
from tests.report.test_formats import HOSTILE, VOID, Reader, any_text, expected, found, texts
from tests.results.test_store import DOCUMENTS, FOLDER

pytestmark = pytest.mark.usefixtures("pages_without_plots")
MOST_BYTES = 1_000_000


class Parts(HTMLParser):
    """What a page is made of: tags, attributes, and the text of each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID:
            self.inside.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in {*self.inside}:
            self.texts[tag][-1] += data

    def raw(self) -> list[str]:
        """The documents that are embedded."""
        return [text for text in self.texts["pre"] if text.startswith("{")]


@pytest.fixture(scope="module")
def doc() -> archcmp.Results:
    return measured(counted())


@any_text
@given(texts)
@example("\\|")
def test_any_text_comes_out_of_a_table_as_it_went_in(text: str) -> None:
    html = grid(one(text)[0])
    reader = Reader(html)
    names = [cell or "row" for cell in expected(one(text)[0])[0]]
    assert found(reader.rows) == [names, *expected(one(text)[0])[1:]]
    assert "script" not in reader.tags
    assert printable(html.replace("\n", " ")) == html.replace("\n", " ")


def renamed(doc: Document, text: str) -> Document:
    """With `text` wherever a user or a file may put any."""
    request = replace(doc.request, kind=text, device=text, specs=[text, text], options={text: text})
    models = [
        Model(
            id=text, name=text, source=text, choices={text: text}, spec={**(model.spec or {}), "note": text}
        )
        for model in doc.models
    ]
    environment = replace(doc.environment, device_name=text, platform=text)
    return replace(doc, request=request, models=models, environment=environment, sources={text: environment})


BREAKING = ["x" * 5_000, "</pre></details></body>", '" onload="alert(1)', "'", "javascript:alert(1)"]


@pytest.mark.parametrize("text", [*HOSTILE, *BREAKING])
def test_no_name_makes_anything_of_a_page(text: str) -> None:
    doc = read(FOLDER / "comparison-2-bounds.json")
    assert all(spec_of(model) is not None for model in doc.models)
    hostile = renamed(doc, text)
    html = page([(text, hostile), (text, hostile)])
    plain = page([("", renamed(doc, "name")), ("", renamed(doc, "name"))])
    assert printable(html.replace("\n", " ")) == html.replace("\n", " ")
    html.encode()
    of_page, of_plain = Parts(html), Parts(plain)
    assert {name for name, _ in of_page.attributes} <= {name for name, _ in of_plain.attributes}
    assert {*of_page.texts} <= {*of_plain.texts, "a", "wbr"}
    links = [str(value) for name, value in of_page.attributes if name == "href"]
    assert all(address.startswith(("#", "https://", "http://")) for address in links)
    assert of_page.raw() == [to_text(hostile)] * 2


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_page_holds_every_table_and_the_document_and_asks_for_nothing(path: Path) -> None:
    doc = read(path)
    html = page([("", doc)])
    assert len(html) < MOST_BYTES
    assert json.loads(Parts(html).raw()[0]) == json.loads(to_text(doc))
    rows = found(Reader(html).rows)
    for table in tables_of(doc):
        wanted = expected(table)[1:]
        assert all(row in rows for row in wanted), table.title
    assert not re.search(r"<link|<iframe|\ssrc=\"(?!data:)|@import|url\((?!data:|#)", html)
    assert "default-src 'none'" in html


def test_a_page_tells_differences_and_keeps_numbers_to_sort_by() -> None:
    html = "\n".join(map(grid, tables(4)))
    assert '<th scope="row" class="level-1">norm</th>' in html
    assert '<td class="differs number" data-value="8030261248.0">8.03 B <span ' in html
    judged = '{} number" data-value="{}">{} tok/s, <span class="than">{} ('
    assert judged.format("same", 8.3, "8.30", "no difference") in html
    assert judged.format("differs", 12345.0, "12,345", "1.31x faster") in html


def test_the_page_of_a_comparison_says_what_it_holds_in_short(doc: archcmp.Results) -> None:
    html = page([("", doc)])
    for needed in (
        "Parameters: from 1.56 B (GPT-2 xl) to 27.0 B (Gemma 3 27B)",
        "Llama 3 8B is 1.31x faster than OLMo 2 7B (1.28 to 1.34)",
        "Measurements that were refused: 1",
        "<code>olmo2:7b+<wbr>window=<wbr>512</code>",
        "archcmp compare olmo2:7b llama3:8b gemma3:27b gpt2:xl olmo2:7b+window=512 --batch-size 1",
        "by convention exact: only the",
        "Testchip &amp; Co",
    ):
        assert needed in html, needed
    two = page([("", archcmp.compare(["olmo2", "llama3"], measure=None, seq_len=2048))])
    assert "Parameters: OLMo 2 7B 7.30 B; Llama 3 8B 8.03 B (1.10x)." in two
    assert "The choice that changes it most is ffn.d_ff (+1.31 B)." in two


def test_a_long_document_is_packed() -> None:
    doc = read(FOLDER / "grid-2.json")
    cells = [replace(cell, models=[], result={"losses": [0.1] * 50_000}) for cell in doc.cells]
    long = replace(doc, request=replace(doc.request, kind="stability"), cells=cells)
    html = page([("", long)])
    (packed,) = re.findall(r'download="stability.json.gz" href="data:application/gzip;base64,([^"]*)"', html)
    assert len(html) < MOST_BYTES
    assert gzip.decompress(base64.b64decode(packed)).decode() == to_text(long)


def test_plots_are_pictures_where_matplotlib_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    doc = read(FOLDER / "comparison-2-bounds.json")
    monkeypatch.setattr(pictures, "kinds_of", lambda doc: ["cost"])
    monkeypatch.setattr(pictures, "svg_of", lambda doc, kind: "<svg>&</svg>")
    encoded = base64.b64encode(b"<svg>&</svg>").decode()
    assert f'<img alt="Plot: {title_of("cost")}' in page([("", doc)]) and encoded in page([("", doc)])
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    assert "pip install &#x27;archcmp[plot]&#x27;" in page([("", doc)]) and "<img" not in page([("", doc)])


def test_a_drawing_has_each_spec_once_and_says_what_it_leaves_out() -> None:
    doc = read(FOLDER / "comparison-2-bounds.json")
    model = doc.models[0]
    copies = [replace(model, name=f"model {i}", spec_sha256=str(i)) for i in range(8)]
    html = page([("", replace(doc, models=[*copies, copies[0]], cells=[]))])
    assert "Not drawn, since the drawing holds 6 models: model 6 and model 7." in html
    old = page([("", replace(doc, models=[replace(model, spec={"mixer": 1})], cells=[]))])
    assert f"no spec of today&#x27;s vocabulary: {model.name}." in old and "<svg" not in old


def test_several_documents_have_a_section_each_and_a_contents() -> None:
    docs = [(path.name, read(path)) for path in DOCUMENTS[:3]]
    html = page(docs)
    assert "<title>3 experiments</title>" in html
    links = re.findall(r'href="#([^"]+)"', html)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len({*links}) == len(links) and {*links} <= {*ids} and len({*ids}) == len(ids)
    for path, _ in zip(DOCUMENTS, docs, strict=False):
        assert path.name in html
    assert len(Parts(html).raw()) == 3


def test_a_section_is_one_function(doc: archcmp.Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SECTIONS", [lambda doc: [Section("Mine", "own & <b>html</b>")]])
    assert "<h2>Mine</h2></summary>\nown & <b>html</b>\n</details>" in page([("", doc)])


def test_a_notebook_shows_the_tables(doc: archcmp.Results) -> None:
    html = doc._repr_html_()
    assert html == fragment(doc) and html.startswith("<div")
    rows = found(Reader(html).rows)
    assert all(row in rows for table in tables_of(doc) for row in expected(table)[1:])
    assert "<script" not in html and ":root" not in html
