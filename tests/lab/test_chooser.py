"""The chooser: which regimes are nearest, what can be used, what is tied; by mouse, keyboard, touch. The file itself.

    python -m pytest tests/lab/test_chooser.py     about 10 s; wants node, and Chromium or Chrome

The map is made up (made.py). Widths, names and axe's rules: tests/test_pages.py.
"""
import json
import re
from pathlib import Path

import made
import pytest
from browser import Browser, node
from running import call, one_error

from lab import page
from nanouft import train
from nanouft.rollout.harvest import Harvest
from nanouft.shell import config
from nanouft.shell.errors import UserError

MAP = made.the_map()
REAL = Path(__file__).parents[2] / "docs/results/map/map.json"
WORSE = "/*MAP*/ /*PAGE_CSS*/ <!-- <script> ' \" \x1b[2J \u2028 </SCRIPT>"
USES = {"nothing": {"nothing"}, "pairs": {"nothing", "pairs"}, "labels": {"nothing", "labels", "right answers"},
        "scores": {"nothing", "labels", "pairs", "scores", "right answers"}, "reward": set(page.NEEDS)}
ASK = {"demos": 100, "samples": 1000, "wrong": "", "have": "scores", "source": "own", "base": "base"}


def usable(have: str, **where) -> list[str]:
    """Names of the rows of one regime of the map that can be used, best first."""
    where = {"noise": 0.0, "source": "own", "base": "base", **where}
    found = next(g for g in MAP["regimes"] if all(g.get(key) == value for key, value in where.items()))
    return [r["name"] for r in found["rows"] if r["needs"] in USES[have]]


# ---- the map in the page ---------------------------------------------------------------------------------------------
def test_links_lead_to_documents_that_are_there_and_nothing_in_the_map_can_end_its_script(tmp_path):
    evil = json.loads(json.dumps(MAP))
    evil["regimes"][0]["rows"][0]["commands"] = [WORSE]
    text, plain = page.fill(evil, tmp_path), page.fill(MAP, tmp_path)
    for sign in ("<script", "</script", "<table", "<!--", "const Choose"):
        assert text.lower().count(sign.lower()) == plain.lower().count(sign.lower()), sign
    links = [x for x in re.findall(r'href="([^"$]*)"', plain) if ".md" in x]
    assert len(links) > 6 and all((tmp_path / x.partition("#")[0]).exists() for x in links), links
    data = json.loads(plain.split("const MAP = ")[1].split(";\n")[0])
    row, small = MAP["regimes"][-1]["rows"][0], data["regimes"][-1]["rows"][0]
    assert [data["lines"][i] for i in small["commands"]] == row["commands"]
    assert len(set(data["lines"])) == len(data["lines"]), "each line once"
    assert small["changes"].keys() == {"fact", "unknown", "diversity"}, "only those whose interval excludes 0"


def test_the_command_makes_it_and_names_a_map_that_is_missing(tmp_path, capsys):
    assert call(page.main, "--map", REAL, "--out", tmp_path) == 0 and (tmp_path / "index.html").exists()
    one_error(call(page.main, "--map", tmp_path / "none"), capsys.readouterr().err, "none", "lab.map --write")


def test_a_damaged_map_is_one_line(tmp_path):
    file = tmp_path / "map.json"
    for broken, words in (({}, "regimes"), ({"regimes": [{"name": "x"}]}, "demos"),
                          (MAP | {"regimes": [MAP["regimes"][0] | {"rows": [{"name": "x"}]}]}, "needs")):
        file.write_text(json.dumps(broken))
        with pytest.raises(UserError, match=words):
            page.read(file)
    file.write_text(json.dumps(MAP))
    assert page.read(file) == MAP


def run(code: str):
    """The value of `out` after `code`, where choose.js and the map of the page are known."""
    return node(f"const Choose = require({json.dumps(str(page.ASSETS / 'choose.js'))}), regimes = "
                f"{json.dumps(page.small(MAP)['regimes'])}, ask = {json.dumps(ASK)}; {code}")


NEAREST = [
    ({"demos": 300, "samples": 2000, "have": "labels"}, "300 x 1,000"),         # as near to 4,000: see test_both
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


def test_both_neighbours_are_named_where_a_size_lies_between_or_beyond_them():
    """On the real map KTO is tied with 300 x 1,000 and worse than SFT with 300 x 4,000; 12,288 answers were measured
    with 100 demonstrations only, and there no method for pairs."""
    code = f"const map = {json.dumps(page.small(page.read(REAL)))}; " + """
        const both = (more) => {
            const a = {...ask, ...more}, rows = (g) => Choose.rows(g, a.have);
            const [g, h] = [Choose.nearest, Choose.second].map((f) => f(map.regimes, a));
            return [g.name, h?.name, h && Choose.also(h, rows(h), rows(g), a, map.margin)];
        };
        out = [{demos: 300, samples: 2000, have: "labels"}, {demos: 300, samples: 12288}, {demos: 55}, {samples: 1100},
            {samples: 12288, have: "pairs"}, {demos: 300, have: "nothing"}].map(both)"""
    thumbs, many, between, near, pairs, nothing = run(code)
    assert thumbs[:2] == ["300 x 1,000", "300 x 4,000"] and "Worse than SFT there: KTO" in thumbs[2]
    assert many[:2] == ["300 x 4,000", "100 x 12,288, 384 steps"] and "Best: RFT (rejection sampling" in many[2]
    assert between[:2] == ["100 x 1,000", "30 x 1,000"] and pairs[0] == "100 x 4,000"
    assert near[1] is None and nothing[1] is None, "measured, or nearly"


def test_the_commands_for_my_own_files_are_accepted():
    """One line a row on top; every flag is one that nanouft knows."""
    told = run("""const row = (name, needs) => ({name, needs, place: 1, verdict: "better"});
        const rows = [row("SFT", "nothing"), row("RFT", "right answers"), row("KTO", "labels"), row("DPO", "pairs"),
            row("UNA", "scores"), row("RLOO", "reward")];
        out = ["labels", "reward"].map((have) => Choose.mine(rows, have))""")
    assert [len(lines) for lines in told] == [6, 7]
    assert "out/own/demos.jsonl" in told[1][2] and "--data labels.jsonl" in told[0][1]
    for line in {line for lines in told for line in lines}:
        module, *argv = line.split()[2:]
        cfg = train.read_flags(argv, "")[1] if module == "nanouft.train" else config.parse(Harvest, argv, module, "")[0]
        assert cfg.out.startswith("out/") and cfg.init.startswith("out/mine")


# ---- in a browser ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return page.write(tmp_path_factory.mktemp("Zoë 学 x"), MAP)


def announced(b: Browser, words: str) -> None:
    """A screen reader hears these words, a moment after the act."""
    b.wait(f"document.querySelector('#told').textContent.includes({json.dumps(words)})")
    assert words in b.heard()


def look(b: Browser, code: str):
    """The value of this code, where $ finds an element."""
    return b.js(f"(($) => {code})((s) => document.querySelector(s))")


def names(b: Browser) -> list[str]:
    return b.js("[...document.querySelectorAll('#choices tr[data-name]')].map((tr) => tr.dataset.name)")


def test_by_mouse(b, file):
    b.open(file, width=1280)
    b.click("#demos-presets button:nth-of-type(3)")
    b.click("#have [value=labels]")
    b.click("#samples-presets button:nth-of-type(1)")
    assert b.js("location.hash").startswith("#demos=300&samples=250&have=labels")
    assert names(b) == usable("labels", demos=300, samples=250)
    b.click("#grid tbody tr:nth-child(4) td:nth-of-type(1) button")
    form = "[$('#demos').value, $('#have :checked').value, $('#samples').disabled]"
    assert look(b, form) == ["1020", "nothing", True]
    assert b.js("document.activeElement.dataset.demos") == "1020", "the cell keeps the focus"
    assert names(b) == usable("nothing", demos=1020, samples=0)
    again = b.js("location.hash")
    b.open(file, again, width=1280)
    assert look(b, "$('#demos').value") == "1020" and names(b) == usable("nothing", demos=1020, samples=0)


def test_by_keyboard(b, file):
    b.open(file, "#demos=30&have=nothing", width=1280)
    look(b, "$('#demos').select()")
    for key in "300":
        b.key(key)
    look(b, "$('#have :checked').focus()")
    b.key("ArrowDown")
    assert look(b, "$('#have :checked').value") == "labels"
    look(b, "$('#samples').select()")
    for key in "2000":
        b.key(key)
    announced(b, "You have 300 demonstrations and labels on 2,000 answers. The nearest that was measured")
    look(b, "$('#demos').select()")
    b.key("0")
    assert look(b, "$('#h-wrong-number').textContent") == "", "not before the typing rests"
    b.wait("document.querySelector('#h-wrong-number').textContent.includes('whole number from 1')")
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert look(b, f"[$('#demos').ariaInvalid, {ring}]") == ["true", "double"] and names(b), "the last answer stays"
    look(b, "$('#choices summary').focus()")
    b.key("Enter")
    assert look(b, "$('#choices pre').textContent").startswith("python -m nanouft.train --objective sft --rows 300")
    look(b, "$('#judge-price').focus()")
    b.key("ArrowRight")
    assert look(b, "$('#choices details').open"), "what was opened stays open"


def test_by_touch(b, file):
    b.open(file, width=390, height=844, touch=True, dark=True)
    b.tap("#have label:nth-of-type(5)")
    b.tap("#demos-presets button:nth-of-type(1)")
    assert look(b, "[$('#demos').value, $('#have :checked').value]") == ["30", "reward"]
    assert names(b)[0] == usable("reward", demos=30, samples=1000)[0]


def test_a_map_from_outside_stays_text(b, file, tmp_path):
    evil = json.loads(json.dumps(MAP).replace("RLOO", "RLOO <img src=x onerror=alert(1)>"))
    for g in evil["regimes"]:
        g["name"] += WORSE
        for r in g["rows"]:
            r |= {"verdict": f"{WORSE} {r['verdict']}", "commands": [WORSE, *r["commands"]]}
    b.open(page.write(tmp_path, evil), "#have=reward&demos=30", width=1280)
    assert b.js("document.querySelectorAll('#chooser img, #chooser b b, #chooser script').length") == 0
    assert any("<img" in name for name in names(b))
