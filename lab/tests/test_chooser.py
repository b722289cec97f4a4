"""The chooser: which regimes are nearest, what can be used, what is tied; by mouse, keyboard,
touch. The file itself.

    python -m pytest lab/tests/test_chooser.py     about 10 s; wants node, and Chromium or Chrome

The map is made up (made.py). Widths, names and axe's rules: lab/tests/test_all_pages.py.
"""
import json
import re
from pathlib import Path

import made
import numpy as np
import pytest
from browser import Browser, node
from running import call, one_error
from scipy.interpolate import RegularGridInterpolator

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


SITUATIONS = [  # asked; the regimes it is made from; words about it
    ({}, ["100 x 1,000"], "Measured at this size, with 5 seeds."),
    ({"demos": 300, "samples": 2000, "have": "labels"}, ["300 x 1,000", "300 x 4,000"],
     "lies between 1,000 and 4,000 answers, which were measured."),
    ({"demos": 55, "samples": 1100},
     ["30 x 1,000", "30 x 4,000", "100 x 1,000", "100 x 4,000"],
     "between 30 and 100 demonstrations and 1,000 and 4,000 answers"),
    ({"demos": 10 ** 9}, ["1,020 x 1,000"], "a factor of 980,392, so this is only a hint"),
    ({"wrong": "1", "source": "learnt"}, ["100 x 1,000, noise 0.4"],
     "40 % were wrong there. Not measured together: answers judged by"),
    ({"wrong": "1", "demos": 5000, "have": "nothing"}, ["300 x 1,000, noise 0.4"],
     "The nearest that was measured: 300 demonstrations."),
    ({"have": "nothing", "source": "learnt", "demos": 1020}, ["1,020 x 0"], "Measured at"),
    ({"have": "nothing", "demos": 200}, ["100 x 0", "300 x 0"],
     "between 100 and 300 demonstrations, which were measured.")]


def test_an_answer_says_which_measured_sizes_it_is_made_from():
    """The situation comes before the size; without answers nobody judges."""
    found = run(f"""out = {json.dumps([more for more, *_ in SITUATIONS])}.map((more) => {{
        const a = {{...ask, ...more}}, g = Choose.estimate(regimes, a, 0.02);
        return [g.corners.map((c) => c.g.name), Choose.basis(g, a, 5)]; }})""")
    for (names, basis), (_, expected, words) in zip(found, SITUATIONS):
        assert names == expected and words in basis, (names, basis)


# ---- the estimate between measured sizes, on the committed map -----------------------------------
GRID = {"demos": (30, 100, 300, 1020), "samples": (250, 1000, 4000)}
JUDGES = ("own", "errs 5", "errs 15", "errs 30")


def real(code: str):
    """As run(), with the regimes and rates of the committed map."""
    the_map = json.loads(REAL.read_text(encoding="utf-8"))
    data = {"regimes": page.small(the_map)["regimes"], "exchange": the_map["exchange"]}
    return node(f"const Choose = require({json.dumps(str(page.ASSETS / 'choose.js'))}), "
                f"{{regimes, exchange}} = {json.dumps(data)}, ask = {json.dumps(ASK)}; {code}")


def test_between_measured_sizes_gain_and_interval_are_those_of_scipy():
    sizes = [(int(d), int(s)) for d in (30, 42, 100, 200, 777, 1020) for s in (250, 600, 1500)]
    told = real(f"""out = {json.dumps(sizes)}.map(([demos, samples]) => Object.fromEntries(
        Choose.estimate(regimes, {{...ask, demos, samples}}, 0.02).rows.map((r) =>
            [r.name, [r.gain, r.verdict]])))""")
    measured = {(g["demos"], g["samples"]): {r["name"]: r["gain"] for r in g["rows"]}
                for g in page.read(REAL)["regimes"]
                if (g["noise"], g["source"], g["base"]) == (0, "own", "base")}
    axes = [np.log(GRID[key]) for key in ("demos", "samples")]
    for name in ("RFT", "UNA", "KTO", "DPO", "SimPO", "RLOO"):
        values = np.array([[measured[d, s][name] for s in GRID["samples"]] for d in GRID["demos"]])
        ours = RegularGridInterpolator(axes, values)(np.log(sizes))
        assert np.allclose([x[name][0] for x in told], ours, atol=2e-6), name
        for x, size in zip(told, sizes):
            mean, half = x[name][0]
            assert size in measured or (x[name][1] == "better") == (mean - half > 0)


def test_a_judge_who_errs_more_never_promises_more():
    """For every size and every kind of answers; what was measured may differ by less than .1
    points."""
    told = real(f"""out = ["labels", "scores", "pairs", "reward"].flatMap((have) =>
        [10, 30, 54, 55, 100, 200, 300, 1020, 3000].flatMap((demos) =>
        [100, 250, 600, 1000, 1500, 2500, 4000, 6000, 12288, 30000].map((samples) =>
        {json.dumps(JUDGES)}.map((source) => Choose.cheapest(Choose.top(Choose.rows(
            Choose.estimate(regimes, {{...ask, have, demos, samples, source}}, 0.02), have)))
            .gain[0]))))""")
    assert len(told) == 360
    for gains in told:
        assert all(later <= before + 0.001 for before, later in zip(gains, gains[1:])), gains


def test_200_demonstrations_and_1500_thumbs_get_one_answer_and_so_do_demonstrations_alone():
    told = real("""out = [{have: "labels"}, {have: "labels", source: "errs 5"},
                          {have: "labels", source: "errs 30"}, {have: "nothing"}].map((more) => {
        const a = {...ask, demos: 200, samples: 1500, "demo-price": 3, "judge-price": 0.05,
                   ...more};
        const g = Choose.estimate(regimes, a, 0.02), rows = Choose.rows(g, a.have);
        return [Choose.advice(rows, a.have), Choose.expect(rows, a.have), Choose.basis(g, a, 5),
                Choose.price(exchange, regimes, a, 0.02), Choose.mine(rows, a.have)]; })""")
    both, errs, often, alone = told
    assert both[:2] == ["Train on your demonstrations (SFT). Then train once more, on the answers "
                        "that were judged right (RFT).",
                        "Expect +1.4 ± 0.8 points over SFT alone, for 2.2 × its computing."]
    assert errs[0] == both[0] and "+1.2 ± 0.8" in errs[1] and "RFT 84 %" in errs[2]
    assert "4,000 answers only" in errs[2] and "stop there" in often[0]
    assert [len(x[4]) for x in told] == [2, 2, 1, 1], (
        "who is told to stop gets the command for that")
    assert "RFT about 32 judgements" in both[3] and "95 %: 13 to 1,051" in both[3]
    assert alone[0] == "Train on your demonstrations (SFT)." and "74.2 ± 2.0 of 100" in alone[1]
    assert "With labels on 4,000 answers you could expect +2.8 ± 1.0 points (RFT)" in alone[3]


def test_prices_speak_of_the_row_that_the_advice_names():
    """Made up: with 300 demonstrations nothing helps; of a judge who errs RFT's rate cannot be
    told, UNA's can."""
    told = run("""const at = (demos, verdict, source = "own", samples = 4000) => (
            {demos, samples, noise: 0, source, base: "base", rows: [
                row("SFT", "nothing", "baseline", 1), row("UNA", "scores", verdict, 9),
                row("RFT", "right answers", verdict)]});
        const map = [at(100, "better"), at(300, "worse"), at(100, "better", "errs 15")];
        const rate = (row, errs, low) => (
            {row, errs, demos: 100, samples: 4000, worth: 160, low, high: 400});
        const rates = [rate("RFT", 0, 80), rate("UNA", 15, 80), rate("RFT", 15, -1)];
        const asked = [{}, {"demo-price": 2}, {"demo-price": 1}, {"demo-price": 0.2},
                       {demos: 5000}, {source: "errs 15"}, {have: "nothing"}, {have: "pairs"},
                       {source: "learnt"}, {wrong: "1"}];
        out = asked.map((more) => Choose.price(rates, map,
            {...ask, samples: 4000, "demo-price": 3, "judge-price": 0.05, ...more}, 0.02))""")
    words = [["judged answers.", "RFT about 25 judgements", "95 %: 10 to 50", "you get 60"],
             ["judged answers are the better guess, but it is open."],
             ["demonstrations are the better guess, but it is open."],
             ["next: demonstrations."], ["next: demonstrations.", "no gain"],
             ["95 %: 10 or more"], ["With labels on 4,000 answers you could expect +5.0 ± 1.0"]]
    assert all(word in text for text, few in zip(told, words) for word in few), told
    assert told[7:] == [f"What to pay for next: no rate was measured for {what}." for what in (
        "pairs", "a learnt reward model", "partly wrong demonstrations")]


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
    first, second = run(code + "out = ['reward', 'labels'].map((h) => [Choose.rows(g, h), h]).map("
                        "(a) => Choose.advice(...a) + Choose.expect(...a))")
    assert "fresh answers (a)" in first and "+5.0 ± 1.0" in first and "5.0 ×" in first
    assert "demonstrations (c)" in second and "Not told apart from it: b (+5.0 ± 1.0)" in second
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
    assert [len(lines) for lines in told] == [6, 7]
    assert not any("harvest" in line for line in told[0]), "who has answers does not make new ones"
    assert "--data labels.jsonl" in told[0][1]
    assert "harvest" in told[1][1] and "out/own/demos.jsonl" in told[1][2]
    explained = run(f"out = {json.dumps(told)}.map((x) => Choose.named(x).map(([name]) => name))")
    for lines, names in zip(told, explained):
        given = set(re.findall(r"[\w/]+\.jsonl|out/mine(?= )|my.py\S*", "\n".join(lines)))
        assert {x for x in given if not x.startswith("out/own")} == set(names), (given, names)
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
    asked = "between 1,000 and 4,000 answers"
    b.wait(f"document.querySelector('#told').textContent.includes('{asked}')")
    assert b.heard().startswith("Train on your demonstrations") and "pay for" in b.heard(), (
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
    assert "What to pay for next" in b.text("#price")
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
