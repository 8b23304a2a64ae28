"""Drawings as text, for the terminal and for Mermaid: within their width, well-formed, and true."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from itertools import pairwise

import pytest
from rich.cells import cell_len

from archcmp.report.diagram import Subject, mermaid, show
from archcmp.report.diagram.terminal import lines_of
from archcmp.report.diagram.terminal.canvas import ASCII
from archcmp.spec.yaml.load import load_spec
from tests.known import UNLIKE

SPECIAL = ("olmo2", "falcon", "deepseek-v4", "minimax-text-01", "gemma4:e2b", "kimi-linear", "nemotron3")
SAMPLE = sorted({*UNLIKE[::5], *SPECIAL})
"""Some families of each set of choices, and those with second paths, boxes on the track, and many frames."""
GROUPS = [(family,) for family in SAMPLE] + [
    ("olmo2", "llama3", "gemma3"),
    ("falcon", "minimax-text-01"),
    ("deepseek-v4", "gpt2", "nemotron3", "kimi-linear", "falcon"),
]


def subjects(*references: str) -> list[Subject]:
    specs = map(load_spec, references)
    return [Subject(spec.title, spec, params=7_298_617_344, active=7_298_617_344) for spec in specs]


def drawn(*references: str, width: int = 80) -> list[str]:
    return [line.plain for line in lines_of(subjects(*references), width)]


# ---- the terminal -----------------------------------------------------------------------------------

TAKES_ANY = "\u25b2\u25b6\u25c0(+)\u2191\u254c\u254e"
"""Arrows, the sign of a sum, and the dashes of frames: lines may end at them."""
OPPOSITE = {"UP": ("DOWN", 0, -1), "DOWN": ("UP", 0, 1), "LEFT": ("RIGHT", -1, 0), "RIGHT": ("LEFT", 1, 0)}


def arms(letter: str) -> set[str]:
    """Where a line of a letter goes, by its Unicode name."""
    name = unicodedata.name(letter, "")
    if not name.startswith("BOX DRAWINGS") or letter in TAKES_ANY:
        return set()
    words = {"HORIZONTAL": {"LEFT", "RIGHT"}, "VERTICAL": {"UP", "DOWN"}}
    return set().union(*(words.get(word, {word} & set(OPPOSITE)) for word in name.split()))


def loose_ends(lines: list[str]) -> list[str]:
    """Lines that end in nothing, but for those from a call-out to its box."""
    cleared = [
        re.sub("\u25c0[\u2500\u253c]+ ", lambda m: m[0].replace("\u2500", " "), line) for line in lines
    ]
    cleared = [line.replace("\u253c ", "\u2502 ") if "\u25c0" in line else line for line in cleared]
    found = []
    for y, line in enumerate(cleared):
        for x, letter in enumerate(line):
            for arm in arms(letter):
                back, dx, dy = OPPOSITE[arm]
                row = cleared[y + dy] if 0 <= y + dy < len(cleared) else ""
                meets = row[x + dx] if 0 <= x + dx < len(row) else " "
                if back not in arms(meets) and meets not in TAKES_ANY:
                    found.append(f"line {y}, column {x}: {letter} {arm.lower()} to {meets!r}")
    return found


WIDTHS = [(80, group) for group in GROUPS]
WIDTHS += [(width, group) for width in (60, 120) for group in GROUPS if {*group} & {*SPECIAL}]


@pytest.mark.parametrize(("width", "references"), WIDTHS, ids=str)
def test_a_drawing_fits_and_its_lines_meet(width: int, references: tuple[str, ...]) -> None:
    lines = drawn(*references, width=width)
    assert max(map(cell_len, lines)) <= width
    assert loose_ends(lines) == []
    assert all(line.translate(ASCII).isascii() for line in lines)


def test_loose_ends_are_found() -> None:
    lines = drawn("gpt2")
    y = next(i for i, line in enumerate(lines) if "\u25b6(+)" in line)
    assert loose_ends([*lines[:y], lines[y].replace("\u2500\u2500\u25b6", "\u2500 \u25b6"), *lines[y + 1 :]])


def from_bottom(lines: list[str], names: str) -> list[str]:
    """The named boxes of a block in the order of the stream."""
    top = max(i for i, line in enumerate(lines) if line.startswith("\u256d"))
    bottom = max(i for i, line in enumerate(lines) if line.startswith("\u2570"))
    return [found[0] for line in reversed(lines[top:bottom]) if (found := re.search(names, line))]


def test_norms_of_olmo2_stand_after_the_sub_layers_inside_of_the_branch() -> None:
    lines = drawn("olmo2")
    names = r"\u2570\u2500+\u2524|attention|feed-forward|RMSNorm|\(\+\)"
    split = next(line.strip("\u254e ") for line in lines if "\u2570\u2500" in line and "\u2524" in line)
    ways = ["attention", "RMSNorm", "(+)", "feed-forward", "RMSNorm", "(+)"]
    assert [name for name in from_bottom(lines, names) if name != split] == ways
    assert from_bottom(lines, names)[0] == split
    text = "\n".join(lines)
    assert "\u25c0\u2500\u2500 QK-norm: over all heads" in text and "\u00d7 32" in text
    llama3 = from_bottom(drawn("llama3"), r"attention|feed-forward|RMSNorm|\(\+\)")
    assert llama3 == ["RMSNorm", "attention", "(+)", "RMSNorm", "feed-forward", "(+)"]


def test_gemma3_has_five_local_layers_for_a_global_one() -> None:
    text = "\n".join(drawn("gemma3"))
    local, whole = "\u2588", "\u2584"
    assert (5 * local + whole) * 5 + 4 * local in text
    assert f"{local} local \u00d7 29" in text and f"{whole} global \u00d7 5" in text
    assert "local: window 1,024" in text


def test_deepseek_v3_has_a_shared_expert_and_8_of_256() -> None:
    text = "\n".join(drawn("deepseek-v3"))
    for said in (
        "256 experts",
        "8 active",
        "expert \u00d7 256",
        "[1] [2] \u2026 [256]",
        "shared",
        "weighted sum of top 8 + shared",
    ):
        assert said in text


def test_what_differs_has_a_badge_and_says_what_it_was() -> None:
    lines = drawn("gpt2", "llama3")
    text = "\n".join(lines)
    assert "\u2260 8 KV heads, was 12" in text and "\u2260 32 layers, was 12" in text
    assert not any("\u2260" in line for line in drawn("gpt2"))
    lines = drawn("olmo2", "olmo2+n_kv_heads=8")
    marked = [line for line in lines[:-2] if "\u2260" in line]
    assert len(marked) == 1 and "\u2260 32 KV heads" in marked[0] and "\u2260 8 KV heads, was 32" in marked[0]
    assert sum(line.count("\u250f") for line in lines) == 2


def test_models_that_differ_stand_on_the_same_lines() -> None:
    for line in drawn("olmo2", "llama3", "gemma3"):
        if "softmax" in line or "(+)" in line:
            assert line.count("softmax") + line.count("(+)") == 3


def test_more_models_than_fit_are_below() -> None:
    heads = [line for line in drawn("gpt2", "llama3", "olmo2", "gemma3", "falcon") if re.match(r"\w", line)]
    assert "GPT-2" in heads[0] and "OLMo 2" in heads[0]
    assert any("Gemma 3" in line and "Falcon" in line for line in heads[1:])
    assert len(drawn("gpt2", "llama3", width=30)) == len(drawn("gpt2", "llama3", width=60))


def test_a_drawing_is_plain_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    show(subjects("gpt2"))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and printed == "".join(f"{line}\n" for line in drawn("gpt2", width=100))


def test_names_cannot_control_a_terminal() -> None:
    subject = Subject("\x1b[2J \u65e5\u672c\u8a9e " + "x" * 200, load_spec("gpt2"))
    lines = [line.plain for line in lines_of([subject, subject])]
    assert not any("\x1b" in line for line in lines) and max(map(cell_len, lines)) <= 80


def test_drawing_loads_no_torch() -> None:
    code = (
        "import sys; from archcmp.report.diagram import Subject, show\n"
        "from archcmp.spec.yaml.load import load_spec\n"
        "show([Subject('a', load_spec('gpt2'))]); print({'torch', 'matplotlib'} & {*sys.modules})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, encoding="utf-8"
    )
    assert result.stdout.endswith("set()\n"), result.stderr


# ---- Mermaid ----------------------------------------------------------------------------------------

ID = r"m\d+(?:_\w+)?"
STATEMENTS = {
    "comment": r"%% .*",
    "flowchart": r"flowchart BT",
    "subgraph": rf'subgraph ({ID})\["[^"]*"\]',
    "direction": r"direction BT",
    "end": r"end",
    "box": rf'({ID})(?:\["[^"]*"\]|\(\["[^"]*"\]\)):::(\w+)',
    "sum": rf'({ID})\(\("\+"\)\)',
    "edges": rf"{ID}(?: (?:-->|-\.->|~~~) {ID})+",
    "class": rf"class {ID}(?:,{ID})* (\w+)",
    "classDef": r"classDef (\w+) [\w#:,. -]+",
}


def statements(text: str) -> list[tuple[str, re.Match[str]]]:
    """Each line with the kind of statement that it is."""
    found = []
    for line in text.splitlines():
        kinds = [
            (kind, match) for kind, form in STATEMENTS.items() if (match := re.fullmatch(form, line.strip()))
        ]
        assert len(kinds) == 1, line
        found += kinds
    return found


@pytest.mark.parametrize("references", GROUPS, ids="+".join)
def test_flowcharts_are_well_formed_and_stable(references: tuple[str, ...]) -> None:
    text = mermaid(subjects(*references))
    assert text == mermaid(subjects(*references))
    found = statements(text)
    depths = [
        sum({"subgraph": 1, "end": -1}.get(kind, 0) for kind, _ in found[:i]) for i in range(len(found) + 1)
    ]
    assert min(depths) == 0 and depths[-1] == 0
    named = [match[1] for kind, match in found if kind in ("subgraph", "box", "sum")]
    assert len(named) == len(set(named))
    used = {
        name
        for kind, match in found
        if kind in ("edges", "class")
        for name in re.findall(rf"\b{ID}\b", match[0])
    }
    assert used <= set(named)
    defined = {match[1] for kind, match in found if kind == "classDef"}
    assert {match[2] for kind, match in found if kind == "box"} <= defined
    for _, match in found:
        for label in re.findall(r'"([^"]*)"', match[0]):
            assert not re.search(r"[<>`$%]", label.replace("<br/>", ""))


def edges(text: str) -> set[tuple[str, str]]:
    """The arrows of a flowchart from label to label."""
    found = statements(text)
    labels = {match[1]: re.split(r'"|<br/>', match[0])[1] for kind, match in found if kind in ("box", "sum")}
    chains = [re.split(r" \S+ ", match[0]) for kind, match in found if kind == "edges"]
    return {(labels[a], labels[b]) for chain in chains for a, b in pairwise(chain)}


def test_a_flowchart_has_the_branches_of_the_model() -> None:
    olmo2 = edges(mermaid(subjects("olmo2")))
    assert {("Token embedding", "Multi-head attention"), ("Multi-head attention", "RMSNorm")} <= olmo2
    assert {("RMSNorm", "+"), ("Token embedding", "+"), ("+", "Gated feed-forward"), ("+", "+")} <= olmo2
    assert ("QK-norm: over all heads", "Multi-head attention") in olmo2
    falcon = edges(mermaid(subjects("falcon")))
    assert {
        ("LayerNorm", "Multi-query attention"),
        ("LayerNorm", "MLP"),
        ("Multi-query attention", "+"),
    } <= falcon
    assert {("MLP", "+"), ("Token embedding", "+")} <= falcon


def test_a_flowchart_marks_what_differs() -> None:
    text = mermaid(subjects("gpt2", "llama3"))
    assert "\u2260 8 KV heads, was 12" in text and "stroke-width:4px" in text
    assert "stroke-width:4px" not in mermaid(subjects("gpt2"))


def test_names_are_escaped_in_flowcharts() -> None:
    text = mermaid([Subject('a "quoted" <b>#1</b> `%%{init}%%` $$', load_spec("gpt2"))])
    statements(text)
    assert "a #quot;quoted#quot; #lt;b#gt;#35;1#lt;/b#gt; #96;#37;#37;{init}#37;#37;#96; #36;#36;" in text
