"""The chooser on top of the page: which regime is nearest, what can be used, what is tied; by mouse, keyboard, touch.

    python -m pytest tests/lab/test_chooser.py     about 10 s; wants node, and Chromium or Chrome

The map is made up (made.py). Widths, names and axe's rules: tests/test_pages.py.
"""
import json
from pathlib import Path

import made
import pytest
from browser import Browser, node
from test_page import WORSE, announced

from lab import chooser, page
from nanouft.shell.errors import UserError

MAP = made.the_map()
REAL = Path(__file__).parents[2] / "docs/results/map/map.json"
USES = {"nothing": {"nothing"}, "pairs": {"nothing", "pairs"}, "labels": {"nothing", "labels", "right answers"},
        "scores": {"nothing", "labels", "pairs", "scores", "right answers"}, "reward": set(chooser.NEEDS)}
ASK = {"demos": 100, "samples": 1000, "wrong": "", "have": "scores", "source": "own", "base": "base"}


def usable(have: str, **where) -> list[str]:
    """Names of the rows of one regime of the map that can be used, best first."""
    where = {"noise": 0.0, "source": "own", "base": "base", **where}
    found = next(g for g in MAP["regimes"] if all(g.get(key) == value for key, value in where.items()))
    return [r["name"] for r in found["rows"] if r["needs"] in USES[have]]


# ---- the map in the page ---------------------------------------------------------------------------------------------
def test_without_a_map_there_is_no_chooser_and_with_one_the_page_stays_small(tmp_path):
    results = made.results()
    assert 'id="chooser"' not in page.fill(results, tmp_path) and "const MAP = null" in page.fill(results, tmp_path)
    full = page.fill(results, tmp_path, MAP)
    assert full.index('id="chooser"') < full.index('id="table"') and len(full.encode()) < 600_000
    data = json.loads(full.split("const MAP = ")[1].split(";\n")[0])
    row, small = MAP["regimes"][-1]["rows"][0], data["regimes"][-1]["rows"][0]
    assert [data["lines"][i] for i in small["commands"]] == row["commands"]
    assert len(set(data["lines"])) == len(data["lines"]), "each line once"
    assert small["changes"].keys() == {"fact", "unknown", "diversity"}, "only those whose interval excludes 0"


def test_a_damaged_map_is_one_line(tmp_path):
    file = tmp_path / "map.json"
    assert chooser.read(file) is None
    for broken, words in (({"regimes": []}, "no regimes"), ({"regimes": [{"name": "x"}]}, "regime 0 has no demos"),
                          (MAP | {"regimes": [MAP["regimes"][0] | {"rows": [{"name": "x"}]}]}, "a row has no needs")):
        file.write_text(json.dumps(broken))
        with pytest.raises(UserError, match=words):
            chooser.read(file)
    file.write_text(json.dumps(MAP))
    assert chooser.read(file) == MAP


def run(code: str):
    """The value of `out` after `code`, where choose.js and the map of the page are known."""
    return node(f"const Choose = require({json.dumps(str(page.ASSETS / 'choose.js'))}), regimes = "
                f"{json.dumps(chooser.small(MAP)['regimes'])}, ask = {json.dumps(ASK)}; {code}")


NEAREST = [
    ({"demos": 300, "samples": 2000, "have": "labels"}, "300 x 1,000"),         # as near to 4,000: the smaller one
    ({"demos": 55}, "100 x 1,000"), ({"demos": 54}, "30 x 1,000"), ({"demos": 10 ** 9, "samples": 1}, "1,020 x 250"),
    ({"have": "nothing"}, "100 x 0"), ({"wrong": "1"}, "100 x 1,000, noise 0.4"),
    ({"wrong": "1", "demos": 5000, "have": "nothing"}, "300 x 1,000, noise 0.4"),       # the situation before the size
    ({"source": "learnt", "samples": 250}, "100 x 1,000, source learnt"),
    ({"have": "nothing", "source": "learnt", "demos": 1020}, "1,020 x 0")]      # without answers nobody judges


def test_the_nearest_regime():
    asked = json.dumps([more for more, _ in NEAREST])
    assert run(f"out = {asked}.map((more) => Choose.nearest(regimes, {{...ask, ...more}}).name)") == [
        name for _, name in NEAREST]


def test_what_was_not_measured_is_said_plainly():
    said = run("""const tell = (more) => { const a = {...ask, ...more};
        return Choose.difference(Choose.nearest(regimes, a), a); };
        out = [tell({}), tell({demos: 300, samples: 2000}), tell({demos: 5000, have: "nothing"}),
               tell({wrong: "1", source: "learnt"})]""")
    words = [["Measured"], ["2,000 answers", "1,000 answers"], ["1,020", "factor of 4.9"], ["40 %", "Not measured"]]
    assert all(word in text for text, few in zip(said, words) for word in few), said


def test_one_gets_what_can_be_made_of_what_one_has_and_ranks_are_counted_anew():
    got = run("out = Object.fromEntries(Object.keys(Choose.uses).map((have) => [have, "
              "Choose.rows(Choose.nearest(regimes, ask), have).map((r) => r.name)]))")
    assert got == {have: usable(have, demos=100, samples=1000) for have in USES}
    given = "out = ['own', 'spoilt', 'learnt'].map((source) => Choose.can({source}, 'pairs').length)"
    assert run(given) == [2, 5, 6], "spoilt: scores as well; learnt: the reward as well"
    code = """const row = (name, worse, relative, needs = "nothing", verdict = "better") => (
            {name, worse, needs, verdict, gain: [0.05, 0.01], cost: {relative}});
        const sft = row("SFT", ["e"], 1, "nothing", "baseline");
        const g = {rows: [row("a", ["b", "c", "SFT"], 5, "reward"), row("b", ["SFT"], 4), row("c", ["SFT"], 3), sft]};
        const none = {rows: [row("a", ["b", "d", "SFT", "e"], 5, "reward"), row("d", [], 2, "nothing", "equal"), sft,
                             row("e", [], 2, "nothing", "worse")]};"""
    assert run(code + "out = [g, none].map((x) => Choose.rows(x, 'nothing').map(Choose.ties))") == [
        ["1 =", "1 =", "3"]] * 2, "d: as good as SFT"
    first, second = run(code + "out = ['reward', 'nothing'].map((h) => Choose.advice(Choose.rows(g, h), 0.02))")
    assert first.startswith("Best: a, +5.0 ± 1.0") and "5.0 ×" in first
    assert "b and c" in second and "cheapest of them: c" in second
    assert run("out = [[-0.0004, -0.0006, 0.02].map(Choose.signed), Choose.word('equal', 0.02),"
               "['1000000000', '1000000001', '0', '1e3', undefined].map(Choose.whole)]") == [
        ["+0.0", "−0.1", "+2.0"], "equal (within 2 points)", [True] + [False] * 4]


def test_a_regime_without_a_row_for_what_one_has_is_passed_over():
    """With 12,288 answers no method for pairs was tried."""
    regimes = json.dumps(chooser.small(chooser.read(REAL))["regimes"])
    near = {have: run(f"out = Choose.nearest({regimes}, {{...ask, samples: 12288, have: '{have}'}}).name")
            for have in ("pairs", "scores")}
    assert near == {"pairs": "100 x 4,000", "scores": "100 x 12,288, 384 steps"}


# ---- in a browser ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return page.write(tmp_path_factory.mktemp("chooser"), made.results(), MAP)


def names(b: Browser) -> list[str]:
    return b.js("[...document.querySelectorAll('#choices tr[data-name]')].map((tr) => tr.dataset.name)")


def test_by_mouse(b, file):
    b.open(file, width=1280)
    b.click("#demos-presets button:nth-of-type(3)")
    b.click("#have [value=labels]")
    b.click("#samples-presets button:nth-of-type(1)")
    assert b.js("location.hash").startswith("#demos=300&samples=250&have=labels")
    few, whole = names(b), usable("labels", demos=300, samples=250)
    assert few == [n for n in whole if n in few] and "SFT" in few
    b.click("#every")
    assert names(b) == whole and b.js("$('#every').getAttribute('aria-expanded')") == "true"
    announced(b, "rows")
    b.click("#grid tbody tr:nth-child(4) td:nth-of-type(1) button")
    assert b.js("[$('#demos').value, $('#have :checked').value, $('#samples').disabled]") == ["1020", "nothing", True]
    assert b.js("document.activeElement.dataset.demos") == "1020", "the cell keeps the focus"
    assert names(b) == usable("nothing", demos=1020, samples=0)
    again = b.js("location.hash")
    b.open(file, again, width=1280)
    assert b.js("$('#demos').value") == "1020" and names(b) == usable("nothing", demos=1020, samples=0)


def test_by_keyboard(b, file):
    b.open(file, "#demos=30&have=nothing", width=1280)
    b.js("$('#demos').select()")
    for key in "300":
        b.key(key)
    b.js("$('#have :checked').focus()")
    b.key("ArrowDown")
    assert b.js("$('#have :checked').value") == "labels"
    b.js("$('#samples').focus(); $('#samples').select()")
    for key in "2000":
        b.key(key)
    announced(b, "You have 300 demonstrations and labels on 2,000 answers. The nearest that was measured")
    b.js("$('#demos').select()")
    b.key("0")
    assert b.js("$('#h-wrong-number').textContent") == "", "not before the typing rests"
    b.wait("$('#h-wrong-number').textContent.includes('whole number from 1')")
    look = "getComputedStyle(document.activeElement).outlineStyle"
    assert b.js(f"[$('#demos').ariaInvalid, {look}]") == ["true", "double"] and names(b), "the last answer stays"
    b.js("$('#choices summary').focus()")
    b.key("Enter")
    assert b.js("$('#choices pre').textContent").startswith("python -m nanouft.train --objective sft --rows 300")
    b.js("$('#every').hidden || $('#every').click()")
    assert b.js("$('#choices details').open"), "what was opened stays open"


def test_by_touch(b, file):
    b.open(file, width=390, height=844, touch=True, dark=True)
    b.tap("#have label:nth-of-type(5)")
    b.tap("#demos-presets button:nth-of-type(1)")
    assert b.js("[$('#demos').value, $('#have :checked').value]") == ["30", "reward"]
    assert names(b)[0] == usable("reward", demos=30, samples=1000)[0]


def test_a_map_from_outside_stays_text(b, file, tmp_path):
    evil = json.loads(json.dumps(MAP).replace("RLOO", "RLOO <img src=x onerror=alert(1)>"))
    for g in evil["regimes"]:
        g["name"] += WORSE
        for r in g["rows"]:
            r |= {"verdict": f"{WORSE} {r['verdict']}", "commands": [WORSE, *r["commands"]]}
    b.open(page.write(tmp_path, made.results(), evil), "#have=reward&demos=30", width=1280)
    assert b.js("document.querySelectorAll('#chooser img, #chooser b b, #chooser script').length") == 0
    b.js("$('#every').hidden || $('#every').click()")
    assert any("<img" in name for name in names(b))
