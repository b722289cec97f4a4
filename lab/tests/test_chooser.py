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

from lab import map_text, page
from nanouft import train
from nanouft.rewards.harvest import Harvest
from nanouft.rewards.judge import Judge
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
    told = real("""out = [{}, {source: "errs 5"}, {source: "errs 30"}, {have: "nothing"}].map(
        (more) => {
        const a = {...ask, demos: 200, samples: 1500, have: "labels", "demo-price": 3,
                   "judge-price": 0.05, ...more};
        const g = Choose.estimate(regimes, a, 0.02), rows = Choose.rows(g, a.have);
        return [Choose.advice(rows, a.have), Choose.expect(rows, a.have), Choose.basis(g, a, 5),
                Choose.price(exchange, regimes, a, 0.02), Choose.mine(rows, a.have)]; })""")
    both, errs, often, alone = told
    assert both[:2] == ["Train on your demonstrations (SFT). Then train once more, on the answers "
                        "that were judged right (RFT).",
                        "Expect +1.4 ± 0.8 points over SFT alone, for 2.2 × its computing."]
    assert errs[0] == both[0] and "+1.2 ± 0.8" in errs[1] and "RFT 84 %" in errs[2]
    assert "4,000 answers only" in errs[2] and "clearly better" in often[0]
    assert [len(x[4]) for x in told] == [3, 3, 1, 1], (
        "who is told to stop gets the command for that")
    assert ("At 1,500 judged answers: +1.4 ± 0.8 points (RFT); about 32 judgements do as much as "
            "one demonstration (95 %: 13 to 1,051).") in both[3]["why"]
    assert alone[0] == "Train on your demonstrations (SFT)." and "74.2 ± 2.0 of 100" in alone[1]
    assert "At 4,000 judged answers: +2.8 ± 1.0 points (RFT)" in alone[3]["why"]
    assert alone[3]["why"].endswith("4,000 judgements cost 200, as much as 67 demonstrations.")
    assert all(x[3]["first"] for x in told), "what to pay for stands above what to do"
    assert "a judge who never errs: 27, 95 %: 13 to 93" in errs[3]["why"], "only assumed"


def test_the_rate_between_sizes_is_that_of_the_page():
    lines = page.read(REAL)["exchange"]
    for demos in (30, 100, 200, 300):
        (about, few, many), = real(f"""out = [Choose.rate(exchange, regimes, {{...ask,
            have: "labels", demos: {demos}, samples: 4000, "demo-price": 3, "judge-price": 0.2}},
            0.02).answers]""")
        ours = map_text.rate(map_text.of_rft(lines, demos, 4000))
        assert ours == f"{about:.0f} [{few:.0f}, {many:.0f}]"


def test_a_judge_who_errs_more_is_never_the_better_buy():
    """At the same number of answers he needs at least as many judgements for a demonstration; what
    was measured may differ by a tenth. So no heading speaks more for his answers."""
    told = real(f"""out = ["labels", "scores"].flatMap((have) =>
        [30, 54, 100, 200, 300, 1020].flatMap((demos) =>
        [250, 1000, 1500, 4000, 12288].flatMap((samples) => [5, 15, 30, 40, 60, 400].map((price) =>
        {json.dumps(JUDGES)}.map((source) => {{
            const a = {{...ask, have, demos, samples, source, "demo-price": price,
                        "judge-price": 1}};
            const found = Choose.rate(exchange, regimes, a, 0.02);
            return [Choose.price(exchange, regimes, a, 0.02), found.answers?.[0] ?? 1e9,
                    found.for]; }})))))""")
    assert len(told) == 360
    heads = {"open. J": 2, "judged": 3, "open. D": 1, "demons": 0}
    for judges in told:
        rates, levels = [x[1] or 1e9 for x in judges], [
            next(n for word, n in heads.items() if f"next: {word}" in x[0]["head"])
            for x in judges]
        assert all(later >= before * 0.9 for before, later in zip(rates, rates[1:])), judges
        assert levels == sorted(levels, reverse=True), judges
        assert not any("∞" in x[0]["why"] or "NaN" in x[0]["why"] for x in judges)


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
                       {source: "learnt"}, {wrong: "1"}, {wrong: "1", have: "nothing"}];
        out = asked.map((more) => Choose.price(rates, map,
            {...ask, samples: 4000, "demo-price": 3, "judge-price": 0.05, ...more}, 0.02))""")
    at = "(at 4,000 judged answers)."
    words = [[f"next: judged answers {at}", "about 25 judgements", "95 %: 10 to 50", "you get 60"],
             [f"next: open. Judged answers are the better guess {at}"],
             [f"next: open. Demonstrations are the better guess {at}"],
             [f"next: demonstrations {at}"], ["next: demonstrations.", "no gain"],
             ["95 %: 10 or more, or no gain at all"],
             ["At 4,000 judged answers: +5.0 ± 1.0 points"]]
    texts = [f"{x['head']} {x['why']}" for x in told]
    assert all(word in text for text, few in zip(texts, words) for word in few), texts
    assert [x.get("open", False) for x in told[:4]] == [False, True, True, False]
    assert texts[7:9] == [f"What to pay for next: no rate was measured for {what}. " for what in (
        "pairs", "a learnt reward model")]
    assert "have your 100 demonstrations judged. 100 judgements cost 5, as much as 1.7" in texts[9]
    assert [x["first"] for x in told[7:]] == [False, False, False, True]


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
    far = """const at = (name, gain, half) => (
            {...row(name, "nothing", "better"), gain: [gain, half]});
        out = [at("b", 0.06, 0.01), at("c", 0.0399, 0.01), at("d", 0.01, null)].map((r) =>
            Choose.rows({rows: [at("a", 0.06, 0.01), r, row("SFT", "nothing", "baseline")]},
                        "nothing").map(Choose.ties).slice(0, 2))"""
    assert run(far) == [["1 =", "1 ="], ["1", "2"], ["1 =", "1 ="]], "intervals that do not touch"
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
    assert run("out = ['errs 5', 'errs 15'].map(Choose.kind)") == [
        "a person (errs in 5 of 100)", "a judge who errs in 15 of 100"]
    assert run("out = Object.keys(Choose.uses).map(Choose.judge)") == ["errs 5"] * 2 + ["own"] * 3


def test_partly_wrong_demonstrations_are_judged_first_and_only_close_rows_share_the_first_rank():
    """The heading, the commands for own files and the ranks say the same."""
    code = """const a = {...ask, demos: 200, samples: 200, have: "labels", wrong: "1", source},
        g = Choose.estimate(regimes, a, 0.02), rows = Choose.rows(g, a.have);
        return [rows.map((r) => [r.name, Choose.ties(r)]), Choose.basis(g, a, 5),
               Choose.mine(rows, a.have), Choose.lead(rows, a) + Choose.advice(rows, a.have)];"""
    told = real(f"out = ['own', 'errs 5'].map((source) => {{ {code} }})")
    assert "RFT's share for judged demonstrations" in told[1][1], "a person who judges them errs"
    assert [x[2:] for x in told] == [told[0][2:]] * 2
    rows, basis, lines, lead = told[0]
    assert rows == [["SFT on the right demonstrations", "1 = *"], ["RFT", "1 = *"],
                    ["KTO", "3 *"], ["SFT", "4"]]
    assert "takes 200 judgements" in basis and "factor" not in basis
    assert '"label": true' in lines[0] and len(lines) == 2 and "--objective sft" in lines[1]
    assert lead.startswith("Have your demonstrations judged first.")


def test_the_commands_for_my_own_files_are_accepted():
    """One line a row on top, the row of the advice first; every flag is one that nanouft knows."""
    told = run("""const rows = [
            row("SFT", "nothing"), row("RFT", "right answers", "better", 1), row("KTO", "labels"),
            row("DPO", "pairs"), row("UNA", "scores"), row("RLOO", "reward")];
        const right = [row("SFT on the right demonstrations", "labels", "better", 0.3)];
        out = [[rows, "labels"], [rows, "reward"], [right, "labels"], [right, "reward"]].map(
            ([r, have]) => Choose.mine(r.filter((x) => Choose.uses[have].includes(x.needs)), have))
        """)
    assert [len(lines) for lines in told] == [5, 11, 2, 1]
    assert not any("harvest" in line for line in told[0]), "a person judges"
    assert "rewards.judge" in told[0][1] and "--data out/judged/labels.jsonl" in told[0][2]
    assert "harvest" in told[1][1] and "out/own/demos.jsonl" in told[1][2]
    assert told[0][3].startswith("# not told apart") and "--keep 0.6" in told[3][0]
    explained = run(f"out = {json.dumps(told)}.map((x) => Choose.named(x).map(([name]) => name))")
    for lines, names in zip(told, explained):
        typed = "\n".join(line for line in lines if not line.startswith("#"))
        given = set(re.findall(r"[\w/]+\.jsonl|out/mine(?= )|out/judged$|my.py\S*|0\.6", typed,
                               re.MULTILINE))
        assert {x for x in given if not x.startswith("out/own")} == set(names), (given, names)
    for line in {line for lines in told for line in lines if not line.startswith("#")}:
        module, *argv = line.split()[2:]
        if module == "nanouft.rewards.judge":
            cfg, _, start = config.parse_list(Judge, argv, module, "", "model", "")
            assert start == ["out/mine-sft"] and cfg.samples == 4
            continue
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
    heard = b.heard()
    assert heard.startswith("What to pay for next") and "on 2,000 answers: train" in heard, (
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
    assert "&demo-price=6&judge-price=0.2" in b.js("location.hash")
    assert "What to pay for next" in b.text("#price")
    assert look(b, "$('#answer').textContent.trim().startsWith('What to pay for next')")
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


def test_the_real_map_who_judges_and_what_one_sees(b, tmp_path):
    """Labels are a person's, scores a program's; no command is cut, no heading broken."""
    file = page.write(tmp_path, page.read(REAL))
    b.open(file, width=1080, height=900)
    who = "[$('#have :checked').value, $('#source').value, $('#judge-price').value]"
    assert look(b, who) == ["labels", "errs 5", "0.2"]
    assert "a person (errs in 5 of 100)" in b.text("#source")
    b.click("#have [value=scores]")
    assert look(b, who) == ["scores", "own", "0.2"]
    b.open(file, "#have=labels&source=errs 15", width=1080, height=900)
    b.click("#have [value=scores]")
    assert look(b, who)[1] == "errs 15", "what one has chosen stays"
    look(b, "document.querySelectorAll('#choices details').forEach((d) => { d.open = true; })")
    cut = "[...document.querySelectorAll('pre')].filter((p) => p.scrollWidth > p.clientWidth)"
    assert b.js(f"{cut}.length") == 0
    b.open(file, "#demos=200&have=labels", width=390, height=844, touch=True)
    assert look(b, "$('#choices-caption').offsetHeight") < 50, "one line"
    assert look(b, "$('#grid th').scrollWidth <= $('#grid th').clientWidth")


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
