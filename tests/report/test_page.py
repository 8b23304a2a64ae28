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
from archcmp.results.document import Document, Model, Status
from archcmp.results.store import read, to_text
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
    return archcmp.read(FOLDER / "comparison-2-bounds.json")


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


@pytest.fixture(scope="module")
def plain() -> Parts:
    """A page whose names are harmless."""
    doc = renamed(read(FOLDER / "comparison-2-bounds.json"), "name")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "kinds_of", lambda doc: [])
        return Parts(page([("", doc), ("", doc)]))


BREAKING = ["x" * 1_000, "</pre></details></body>", '" onload="alert(1)', "'", "javascript:alert(1)"]


@pytest.mark.parametrize("text", [*HOSTILE, *BREAKING])
def test_no_name_makes_anything_of_a_page(text: str, plain: Parts) -> None:
    doc = read(FOLDER / "comparison-2-bounds.json")
    assert all(spec_of(model) is not None for model in doc.models)
    hostile = renamed(doc, text)
    html = page([(text, hostile), (text, hostile)])
    assert printable(html.replace("\n", " ")) == html.replace("\n", " ")
    html.encode()
    of_page = Parts(html)
    assert {name for name, _ in of_page.attributes} <= {name for name, _ in plain.attributes}
    assert {*of_page.texts} <= {*plain.texts, "a", "wbr"}
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


SAID = {
    "comparison-2": [
        "19 design choices differ: mixer, n_heads, n_kv_heads,",
        "Parameters: GPT-2 small n_layers=2 53.6 M; Tiny 7.41 K (0.000138x).",
        "prefill, 16 tokens: Tiny is 11.16x faster than GPT-2 small n_layers=2 (6.34 to 20.25).",
        "archcmp compare gpt2:small+n_layers=2 tests/tiny.yaml --batch-size 1 --seq-len 32 --measure prefill",
        "Intel Xeon",
    ],
    "comparison-2-bounds": [
        "Parameters: 7.41 K in both models.",
        "Tiny window=4 512 B (0.00195x). The choice that changes it most is window (-256 KiB).",
        "by convention exact: only the",
        "<code>tests/<wbr>tiny.<wbr>yaml+<wbr>window=<wbr>4</code>",
    ],
    "comparison-2-matched": ["Tiny residual=sandwich_norm ffn.d_ff=23 meets Tiny in params by"],
    "grid-2": ["Tiny residual=post_norm, of 8 measurements: faster in 1, undecided in 7."],
    "ablation-2": [
        "From Tiny to Tiny residual=sandwich_norm window=4 in 2 steps.",
        "KV cache: -3.00 KiB in all; the largest step is window=4 (-3.00 KiB).",
        "decode, context 16: undecided between window=4 and residual=sandwich_norm (0.61 to 3.25).",
    ],
    "fit-2": ["On h100, batch 1 x 64 tokens: Tiny fits, up to 64 tokens; Tiny window=4 fits"],
    "race-2-masked": ["tests/tiny.yaml+window=4: windowed against masked against global."],
}


@pytest.mark.parametrize("name", SAID)
def test_a_page_says_in_short_what_it_holds(name: str) -> None:
    html = page([("", read(FOLDER / f"{name}.json"))])
    assert [said for said in SAID[name] if said not in html] == []


def test_a_fit_says_on_how_many_devices_models_train_and_with_which_recipes() -> None:
    doc = archcmp.run("fit", ["gpt2"], options={"on": ["h100"], "recompute": "full"})
    html = page([("", doc)])
    assert (
        "train on, h100, each with batch 1 x 1,024 tokens, recomputation full: GPT-2 small 1 (bf16)" in html
    )
    for name, value in (
        ("devices", "h100"),
        ("training", "recipe bf16, mixed and fp32"),
        ("recomputation", "full"),
    ):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in html


def test_of_many_models_the_least_and_the_most_are_told_and_of_an_unfinished_run_what_is_missing() -> None:
    doc = read(FOLDER / "comparison-2.json")
    cell = doc.cells[0]
    models = [replace(model, name=f"{model.name} {i}") for i in range(2) for model in doc.models]
    cell = replace(cell, status=Status.INTERRUPTED, models=[*cell.models, *cell.models])
    html = page([("", replace(doc, models=models, cells=[cell]))])
    assert "Parameters: from 7.41 K (Tiny 0) to 53.6 M (GPT-2 small n_layers=2 1)." in html
    assert "Not finished: 0 of 1 cells are measured." in html


def test_a_long_document_is_packed() -> None:
    doc = read(FOLDER / "grid-2.json")
    cells = [replace(cell, models=[], result={"losses": [0.1] * 20_000}) for cell in doc.cells]
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
    assert html.count("</summary><ul><li><a href=") == 3  # the contents of each is folded
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
