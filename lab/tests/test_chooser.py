"""The chooser: which regimes are nearest, what can be used, what is tied; by mouse, keyboard,
touch. The file itself.

    python -m pytest lab/tests/test_chooser.py     about 10 s; wants node, and Chromium or Chrome

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
from nanouft.rewards.harvest import Harvest
from nanouft.run import config

MAP = made.the_map()
REAL = Path(__file__).parents[2] / "docs/results/map/map.json"
WORSE = "/*MAP*/ /*PAGE_CSS*/ <!-- <script> ' \" \x1b[2J \u2028 </SCRIPT>"
USES = {"nothing": {"nothing"}, "pairs": {"nothing", "pairs"},
        "labels": {"nothing", "labels", "right answers"},
        "scores": {"nothing", "labels", "pairs", "scores", "right answers"},
        "reward": set(page.NEEDS)}
ASK = {"demos": 100, "samples": 1000, "wrong": "", "have": "scores", "source": "own",
       "base": "base"}


def usable(have: str, **where) -> list[str]:
    """Names of the rows of one regime of the map that can be used, best first."""
    where = {"noise": 0.0, "source": "own", "base": "base", **where}
    found = next(g for g in MAP["regimes"]
                 if all(g.get(key) == value for key, value in where.items()))
    return [r["name"] for r in found["rows"] if r["needs"] in USES[have]]


# ---- the map in the page -------------------------------------------------------------------------
def test_links_lead_to_documents_that_are_there_and_nothing_in_the_map_can_end_its_script(tmp_path):
    evil = json.loads(json.dumps(MAP))
    evil["regimes"][0]["rows"][0]["commands"] = [WORSE]
    text, plain = page.fill(evil, tmp_path), page.fill(MAP, tmp_path)
    for sign in ("<script", "</script", "<table", "<!--", "const Choose"):
        assert text.lower().count(sign.lower()) == plain.lower().count(sign.lower()), sign
    links = [x for x in re.findall(r'href="([^"$]*)"', plain) if ".md" in x]
    assert not re.search("surely|anew|learning rates above", plain)
    assert len(links) > 6 and all((tmp_path / x.partition("#")[0]).exists() for x in links), links
    data = json.loads(plain.split("const MAP = ")[1].split(";\n")[0])
    row, small = MAP["regimes"][-1]["rows"][0], data["regimes"][-1]["rows"][0]
    assert [data["lines"][i] for i in small["commands"]] == row["commands"]
    assert len(set(data["lines"])) == len(data["lines"]), "each line once"
    assert (small["changes"].keys() == {"fact", "unknown",
                                        "diversity"}), "only those whose interval excludes 0"


def test_the_command_makes_it_and_a_map_that_is_missing_or_damaged_is_one_line(tmp_path, capsys):
    assert call(page.main, "--map", REAL, "--out", tmp_path) == 0
    assert (tmp_path / "index.html").exists()
    one_error(call(page.main, "--map", tmp_path / "none"), capsys.readouterr().err, "none",
              "lab.map --write")
    file = tmp_path / "map.json"
    for broken, words in (({}, "regimes"), ({"regimes": [{"name": "x"}]}, "demos"),
                          (MAP | {"regimes": [MAP["regimes"][0] | {"rows": [{"name": "x"}]}]},
                           "needs")):
        file.write_text(json.dumps(broken))
        one_error(call(page.main, "--map", file), capsys.readouterr().err, words, "makes it again")
    file.write_text(json.dumps(MAP))
    assert page.read(file) == MAP


ROW = """const row = (name, needs, verdict, relative = 2, worse = []) => (
    {name, needs, verdict, worse, place: 1, gain: [0.05, 0.01], cost: {relative}});"""


def run(code: str):
    """The value of `out` after `code`, where choose.js, the map of the page and a made-up row are
    known."""
    return node(f"const Choose = require({json.dumps(str(page.ASSETS / 'choose.js'))}), regimes = "
                f"{json.dumps(page.small(MAP)['regimes'])}, ask = {json.dumps(ASK)}; {ROW} {code}")


NEIGHBOURS = [  # asked; nearest regime; the other neighbour; words of the difference
    ({}, "100 x 1,000", None, "Measured: 100"),
    ({"demos": 300, "samples": 2000, "have": "labels"}, "300 x 1,000", "300 x 4,000",
     "labels on 2,000 answers"),
    ({"demos": 55}, "100 x 1,000", "30 x 1,000", "factor of 1.8"),
    ({"demos": 54}, "30 x 1,000", "100 x 1,000",
     "The nearest that was measured: 30 demonstrations"),
    ({"demos": 10 ** 9}, "1,020 x 1,000", None, "factor of 980,392"),
    ({"samples": 1100}, "100 x 1,000", None, "1,100 answers"),
    ({"wrong": "1", "source": "learnt"}, "100 x 1,000, noise 0.4", None,
     "40 % are wrong. Not measured together"),
    ({"wrong": "1", "demos": 5000, "have": "nothing"}, "300 x 1,000, noise 0.4", None,
     "300 partly wrong"),
    ({"have": "nothing", "source": "learnt", "demos": 1020}, "1,020 x 0", None,
     "1,020 demonstrations, nothing more")]


def test_the_nearest_regime_and_the_other_neighbour_and_what_was_not_measured():
    """The situation comes before the size; without answers nobody judges."""
    found = run(f"""out = {json.dumps([more for more, *_ in NEIGHBOURS])}.map((more) => {{
        const a = {{...ask, ...more}}, g = Choose.nearest(regimes, a);
        return [g.name, Choose.second(regimes, a)?.name ?? null, Choose.difference(g, a)]; }})""")
    for (*names, difference), (_, *expected, words) in zip(found, NEIGHBOURS):
        assert names == expected and words in difference


def test_prices_speak_of_the_size_and_the_row_that_the_advice_names():
    """Made up: with 300 demonstrations nothing helps; of a judge who errs RFT's rate cannot be
    told, UNA's can."""
    told = run("""const at = (demos, verdict, source = "own") => (
            {demos, samples: 1000, noise: 0, source, base: "base", rows: [
                row("SFT", "nothing", "baseline", 1), row("UNA", "scores", verdict, 9),
                row("RFT", "right answers", verdict), row("DPO", "pairs", verdict, 4)]});
        const map = [at(100, "better"), at(300, "worse"), at(100, "better", "errs 15")];
        const rate = (row, errs, low) => (
            {row, errs, demos: 100, samples: 1000, low, high: 100, answers: 25});
        const rates = [rate("RFT", 0, 20), rate("UNA", 15, 20), rate("RFT", 15, -1),
                       rate("DPO", 0, 20)];
        const asked = [{}, {"demo-price": 2}, {"demo-price": 1}, {"demo-price": 0.2}, {demos: 200},
                       {demos: 150}, {demos: 5000}, {source: "errs 15"}, {have: "pairs"},
                       {have: "nothing"}, {source: "learnt"}, {wrong: "1"}];
        out = asked.map((more) => {
            const a = {...ask, "demo-price": 3, "judge-price": 0.05, ...more};
            const rows = (x) => Choose.rows(x, a.have);
            const [g, h] = [Choose.nearest, Choose.second].map((f) => f(map, a));
            const also = h ? Choose.also(h, rows(h), rows(g), a, 0.02) : "";
            return Choose.price(rates, a, [g, h]) + also; })""")
    words = [["costs 60 times", "RFT needs 25 judgements", "95 %: 10 to 50",
              "So let answers be judged."],
             ["both open; the better guess: let answers be judged."],
             ["both open; the better guess: write demonst"],
             ["So write demonstrations."],
             ["With 300", "cannot be told", "other neighbour: with 100", "RFT needs 25"],
             ["other neighbour: with 300", "Worse than SFT there: UNA"],
             ["With 300", "cannot be told"],
             ["15 of 100 misjudged", "RFT's gain reaches 0"]]
    assert all(word in text for text, few in zip(told, words) for word in few), told
    assert "judged." not in told[6], told
    assert told[8:] == [f"Prices: no rate was measured for {what}." for what in (
        "pairs", "demonstrations alone", "a learnt reward model", "partly wrong demonstrations")]


def test_one_gets_what_can_be_made_of_what_one_has_and_ranks_are_counted_again():
    got = run("out = Object.fromEntries(Object.keys(Choose.uses).map((have) => [have, "
              "Choose.rows(Choose.nearest(regimes, ask), have).map((r) => r.name)]))")
    assert got == {have: usable(have, demos=100, samples=1000) for have in USES}
    given = ("out = ['own', 'spoilt', 'learnt'].map((source) => Choose.can({source}, "
             "'pairs').length)")
    assert run(given) == [2, 5, 6], "spoilt: scores as well; learnt: the reward as well"
    code = """const sft = row("SFT", "nothing", "baseline", 1, ["e"]);
        const g = {rows: [row("a", "reward", "better", 5, ["b", "c", "SFT"]),
                          row("b", "nothing", "better", 4, ["SFT"]),
                          row("c", "nothing", "better", 3, ["SFT"]), sft]};
        const none = {rows: [row("a", "reward", "better", 5, ["b", "d", "SFT", "e"]),
                             row("d", "nothing", "equal"), sft, row("e", "nothing", "worse")]};"""
    assert run(code + "out = [g, none].map((x) => Choose.rows(x, 'nothing').map(Choose.ties))") == [
        ["1 =", "1 =", "3"]] * 2, "d: as good as SFT"
    first, second = run(code + "out = ['reward', 'nothing'].map((h) => "
                        "Choose.advice(Choose.rows(g, h), 0.02))")
    assert first.startswith("Best: a, +5.0 ± 1.0") and "5.0 ×" in first
    assert "b and c" in second and "cheapest of them: c" in second
    assert run("out = [-0.0004, -0.0006, 0.02].map(Choose.signed)") == ["+0.0", "−0.1", "+2.0"]
    assert run("out = Choose.word('equal', 0.02)") == "equal (within 2 points)"
    whole = "['1000000000', '1000000001', '0', '1e3', undefined]"
    assert run(f"out = {whole}.map(Choose.whole)") == [True] + [False] * 4
    paid = "['3', '0.05', '0', '-1', '', undefined]"
    assert run(f"out = {paid}.map(Choose.paid)") == [True] * 2 + [False] * 4
    assert run("out = Choose.kind('errs 15')") == "a judge who errs in 15 of 100"


def test_the_commands_for_my_own_files_are_accepted():
    """One line a row on top; every flag is one that nanouft knows."""
    told = run("""const rows = [
            row("SFT", "nothing"), row("RFT", "right answers"), row("KTO", "labels"),
            row("DPO", "pairs"), row("UNA", "scores"), row("RLOO", "reward")];
        out = ["labels", "reward"].map((have) => Choose.mine(rows, have))""")
    assert [len(lines) for lines in told] == [7, 7]
    assert "harvest" in told[0][1]
    assert "my.py:nobody" in told[0][1]
    assert "out/own/demos.jsonl" in told[1][2] and "--data labels.jsonl" in told[0][2]
    for line in {line for lines in told for line in lines}:
        module, *argv = line.split()[2:]
        cfg = (train.read_flags(argv, "")[1]
               if module == "nanouft.train" else config.parse(Harvest, argv, module, "")[0])
        assert cfg.out.startswith("out/") and cfg.init.startswith("out/mine")


# ---- in a browser --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return page.write(tmp_path_factory.mktemp("Zoë 学 x"), MAP)


def look(b: Browser, code: str):
    """The value of this code, where $ finds an element."""
    return b.js(f"(($) => {code})((s) => document.querySelector(s))")


def names(b: Browser) -> list[str]:
    return b.js("[...document.querySelectorAll('#choices tr[data-name]')].map((tr) => "
                "tr.dataset.name)")


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
    b.open(file, b.js("location.hash"), width=1280)
    assert look(b, "$('#demos').value") == "1020"
    assert names(b) == usable("nothing", demos=1020, samples=0)


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
    asked = "300 demonstrations and labels on 2,000 answers"
    b.wait(f"document.querySelector('#told').textContent.includes('{asked}')")
    assert "The nearest that was measured" in b.heard() and "Prices" in b.heard(), (
        "by a screen reader, a moment later")
    look(b, "$('#choices summary').focus()")
    b.key("Enter")
    first = "python -m nanouft.train --objective sft --rows 300"
    assert look(b, "$('#choices pre').textContent").startswith(first)
    look(b, "$('#demo-price').select()")
    b.key("0")
    b.wait("document.querySelector('#h-wrong-number').textContent.includes('price above 0')")
    b.key("Backspace")
    b.key("6")
    assert "&demo-price=6&judge-price=0.05" in b.js("location.hash")
    assert "120 times" in b.text("#price")
    assert look(b, "$('#choices details').open"), "what was opened stays open"
    look(b, "$('#demos').select()")
    b.key("0")
    assert look(b, "$('#h-wrong-number').textContent") == "", "not before the typing rests"
    b.wait("document.querySelector('#h-wrong-number').textContent.includes('whole number from 1')")
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert look(b, f"[$('#demos').ariaInvalid, {ring}]") == ["true", "double"] and names(b), (
        "the last answer stays")


def test_by_touch(b, file):
    b.open(file, width=390, height=844, touch=True, dark=True)
    b.tap("#have label:nth-of-type(5)")
    b.tap("#demos-presets button:nth-of-type(1)")
    assert look(b, "[$('#demos').value, $('#have :checked').value]") == ["30", "reward"]
    assert names(b)[0] == usable("reward", demos=30, samples=1000)[0]
    assert look(b, "$('#choices-caption').offsetHeight") < 50, "one line"


def test_a_map_from_outside_stays_text(b, file, tmp_path):
    evil = json.loads(json.dumps(MAP).replace("RLOO", "RLOO <img src=x onerror=alert(1)>"))
    for g in evil["regimes"]:
        g["name"] += WORSE
        for r in g["rows"]:
            r |= {"verdict": f"{WORSE} {r['verdict']}", "commands": [WORSE, *r["commands"]]}
    b.open(page.write(tmp_path, evil), "#have=reward&demos=30", width=1280)
    assert (b.js("document.querySelectorAll('#chooser img, #chooser b b, #chooser script').length")
            == 0)
    assert any("<img" in name for name in names(b))
