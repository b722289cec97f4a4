"""The comparison page: its numbers are those of results.json, it asks for nothing, it sorts by keyboard.

    python -m pytest tests/lab/test_page.py        about 20 s; wants node, and Chromium or Chrome

Cells are made up here, fast and with every oddity: a seed that diverged, a row with no seed left, a prompt that tries
to end the script. What is missing on the machine is said aloud and skipped, as in test_lake_page.py.
"""
import json
import random
import re
from html import unescape
from pathlib import Path

import pytest
from browser import Browser, node

from nanouft import world
from nanouft.lab import compare, cost, page, snapshot, table
from nanouft.lab.table import MEASURES, Row

EVIL = "</script><b>&amp; no"
WORSE = "<!--TABLE--> /*DATA*/ /*PAGE_JS*/ <!-- <script> ' \" \x1b[2J \u2028 </SCRIPT>"  # such a name


def cell(rng: random.Random, row: Row, seed: int, prompts: list[dict]) -> dict:
    """A finished cell as run_cell would leave it."""
    def pushes(p):
        return {when: {"right": [rng.choice((1.0, 0.25, -0.1))] * len(p["right_tokens"]),
                       "wrong": [-rng.random()] * len(p["wrong_tokens"])} for when in ("first", "last")}
    families = {f: {k: rng.random() for k in ("score", "strict", "ends", "length")} for f in world.FAMILIES}
    probes = {k: rng.random() for k in ("diversity", "kl_own", "own_prefix_gap", "corpus_nll")}
    face = {"probes": probes, "pairs": {"chosen": rng.gauss(0, 3), "rejected": rng.gauss(-3, 3)},
            "answers": [{"says": f"{row.objective} {EVIL}", "score": rng.choice((0, 0.5, 1)),
                         "stops": rng.random() < .8} for _ in snapshot.SHOWN],
            "ledger": [pushes(p) for p in prompts] if row.flags else None,
            "curve": [[4 * i, rng.random()] for i in range(1, 25)] if row.flags else [],
            "held": {"name": "nll", "points": [[48, 0.3], [96, 0.2]]} if row.flags else {}, "seconds": 5 + rng.random()}
    mean = sum(f["score"] for f in families.values()) / 9
    return {"seed": seed, "mean": mean, "families": families, "portrait": face}


@pytest.fixture(scope="module")
def results() -> dict:
    rng, patch = random.Random(0), pytest.MonkeyPatch()
    patch.setattr(table, "priced", lambda row, seed, cells: None if row.group == "on-policy" else
                  cost.Cost(rng.randrange(20_000, 200_000), rng.uniform(3e11, 2e12)) if row.flags else cost.Cost())
    sft = ("--objective", "sft")
    rows = {"base": Row((), "start"), **compare.wanted(compare.Compare()), "sft->ppo": Row(sft, "on-policy", sft)}
    prompts = table.shown_prompts("test", table.Tokenizer.load("nano"))
    done = {name: [cell(rng, row, s, prompts) for s in range(3 if row.flags else 1)] for name, row in rows.items()}
    done["rpo"][1] = {"seed": 1, "failed": "loss is nan"}
    done["asft"] = [{"seed": s, "failed": "loss is nan"} for s in range(3)]
    out = table.summarise(rows, done, {"command": f"python -m nanouft.lab.compare {EVIL}", "seeds": 3, "first_seed": 0,
                                  "items": 100, "split": "test", "init": "base"})
    patch.undo()
    return json.loads(json.dumps(out))


@pytest.fixture(scope="module")
def file(results, tmp_path_factory) -> Path:
    return page.write(tmp_path_factory.mktemp("Zoë 学 x"), results)


@pytest.fixture(scope="module")
def text(file) -> str:
    return file.read_text(encoding="utf-8")


# ---- the file --------------------------------------------------------------------------------------------------------
def test_it_is_one_file_that_asks_for_nothing(text):
    """Addresses stand in links only; nothing is loaded, nothing in the data can break out of its script."""
    assert set(re.findall(r"https?://[\w.]+", re.sub(r'<a href="[^"]*"', "", text))) == set()
    assert not re.search(r"\bsrc\s*=|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    assert re.findall(r"<link[^>]*>", text) == ['<link rel="icon" href="data:,">']
    assert not re.search(r"/\*[A-Z_]+\*/|<!--[A-Z]+-->", text), "a place of page.html was not filled"
    assert text.count("</script>") == 1 and "<b>&amp; no" not in text.replace("&lt;b&gt;", "")
    assert len(text) < 1_000_000


def test_nothing_that_a_name_holds_can_act(results, tmp_path):
    """Neither in the table nor in the data: it ends no script, opens no comment, and is no place of the page."""
    named = json.loads(json.dumps(results))
    named["command"] += WORSE
    named["rows"] = {(f"{WORSE} {n}" if n == "sft" else n): r for n, r in named["rows"].items()}
    page_now, plain = page.fill(named, tmp_path), page.fill(results, tmp_path)
    for sign in ("<script", "</script", "<table", "<!--", "const Draw"):
        assert page_now.lower().count(sign.lower()) == plain.lower().count(sign.lower()), sign
    assert "\x1b" not in page_now and "\u2028" not in page_now.split("<script>")[1] and r"\x1b[2J" in page_now
    data = json.loads(page_now.split("const DATA = ")[1].split(";\n")[0])
    assert data["command"] == named["command"].replace("\x1b", r"\x1b")


def table_of(text: str) -> tuple[list[str], dict[str, list[tuple[str, str]]]]:
    """(titles, {row: [(data-v, shown text)]}) of the page's table, read without JavaScript."""
    def plain(x):
        return unescape(re.sub(r"<[^>]*>", "", x)).strip()
    html = text[text.index('<table id="table"'):text.index("</table>")]
    titles = [plain(x) for x in re.findall(r"<button[^>]*>(.*?)</button>", html)]
    rows = {}
    for name, tr in re.findall(r'<tr data-name="([^"]*)"[^>]*>(.*?)</tr>', html, re.S):
        rows[unescape(name)] = [(unescape(v), plain(x)) for v, x in
                                re.findall(r'<t[hd][^>]*data-v="([^"]*)"[^>]*>(.*?)</t[hd]>', tr, re.S)]
    return titles, rows


def test_the_numbers_of_the_table_are_those_of_results_json(text, results):
    titles, rows = table_of(text)
    assert rows.keys() == results["rows"].keys() and len(titles) == len(set(titles))
    column = {m.title: name for name, m in MEASURES.items()}
    checked = 0
    for name, cells in rows.items():
        row = results["rows"][name]
        assert len(cells) == len(titles)
        for title, (v, shown) in zip(titles, cells):
            if title in column:
                figure = row["figures"][column[title]]
                assert shown == MEASURES[column[title]].write(figure)
                assert v == ("" if figure is None else str(figure[0]))
                checked += 1
        price = row["cost"]
        assert cells[titles.index("gradient tokens")] == (("", "–") if price is None else
                                                          (str(price["tokens"]), f"{price['tokens']:,}"))
        assert cells[titles.index("data")][1] == row["data"] and cells[titles.index("other models")][1] == row["models"]
    assert checked > 18 * len(rows), "every measure but Python's own has a column"
    assert "1 of 3 seeds diverged" in rows["rpo"][0][1] and rows["asft"][2] == ("", "–")


def test_links_lead_to_files_and_papers(file, text, results):
    links = re.findall(r'<a href="([^"]*)"', text)
    papers, files = [x for x in links if x.startswith("http")], [x for x in links if not x.startswith("http")]
    assert len(files) == len(results["rows"]) - 1 and all((file.parent / f).exists() for f in files)
    assert set(papers) == {f"https://arxiv.org/abs/{r['arxiv']}" for r in results["rows"].values() if r["arxiv"]}


# ---- its JavaScript, in node -----------------------------------------------------------------------------------------
def run(code: str):
    """The value of `out` after `code`, where table.js and draw.js are known."""
    return node("".join(f"const {name} = require({json.dumps(str(page.ASSETS / file))});"
                        for name, file in (("Table", "table.js"), ("Draw", "draw.js"))) + code)


def test_sorting_is_numeric_stable_and_keeps_what_is_missing_at_the_end():
    rows = [{"v": v, "k": k} for k, v in enumerate(["10", "", "9", "-1", "9", "1e-3"])]
    for down, want in ((False, [3, 5, 2, 4, 0, 1]), (True, [0, 2, 4, 5, 3, 1])):
        got = run(f"out = Table.sorted({json.dumps(rows)}, true, {json.dumps(down)}).map((r) => r.k)")
        assert got == want
    assert run("out = Table.sorted([{v: 'b'}, {v: ''}, {v: 'A'}], false, false).map((r) => r.v)") == ["A", "b", ""]


def test_labels_cover_neither_each_other_nor_a_point():
    """Forty points in a crowd: whoever gets a label gets a free place; nearly all do."""
    rng = random.Random(1)
    points = [{"name": f"method_{i}", "px": rng.gauss(330, 60), "py": rng.gauss(230, 50)} for i in range(40)]
    spots = run(f"out = Draw.place({json.dumps(points)}, (s) => 6.9 * s.length + 4, [56, 0, 660, 420])")
    boxes = [s["b"] for s in spots if s] + [[p["px"] - 7, p["py"] - 7, p["px"] + 7, p["py"] + 7] for p in points]
    labels = sum(s is not None for s in spots)
    assert labels >= 36
    for i in range(labels):
        for j, o in enumerate(boxes):
            a = boxes[i]
            assert i == j or a[0] >= o[2] or a[2] <= o[0] or a[1] >= o[3] or a[3] <= o[1]


def test_a_picture_escapes_every_name():
    svg = run("""const evil = `<img src=x onerror="a">'`, held = {name: evil, points: [[1, 0.5], [2, 0.4]]};
        out = Draw.curve(evil, evil, [[1, 1], ["<b>", 2]], held, (x) => x) + Draw.shape(evil);""")
    assert "<img" not in svg and "<b>" not in svg and "onerror=\"" not in svg and "&#39;" in svg


def test_axes_and_bars():
    assert run("out = Draw.ticks(0.9, 4.2, true)") == [1, 1.5, 2, 3, 4]
    assert run("out = Draw.ticks(22, 97, false)") == [40, 60, 80]
    assert run("out = [1, -0.134, 0, -41.7].map(Draw.signed)") == ["+1.00", "-0.13", "+0.00", "-42"]
    svg = run('out = Draw.strip(["a", "<|end|>"], [1, -0.25])')
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)"', svg)]
    assert heights[0] == 2 * heights[1] > 0 and "&lt;|end|&gt;" in svg, "bars are square roots; text is escaped"
    assert re.findall(r'<rect class="(\w+)"', svg) == ["up", "down"]


# ---- in a browser (fixture b: conftest.py) ---------------------------------------------------------------------------
def order(b: Browser) -> list[str]:
    return b.js("[...document.querySelectorAll('tbody tr')].map((tr) => tr.dataset.name)")


def ranked(results: dict, measure: str, down: bool) -> list[str]:
    there = [n for n, r in results["rows"].items() if r["figures"][measure]]
    return sorted(there, key=lambda n: results["rows"][n]["figures"][measure][0], reverse=down)


def test_the_table_is_sorted_by_keyboard_and_says_so(b, file, results):
    b.open(file, width=1400)
    assert order(b)[:-1] == ranked(results, "score", True) and order(b)[-1] == "asft", "the best first, nothing last"
    b.js("document.querySelector('#table th:nth-child(3) button').focus()")
    for _ in range(4):                                              # strict, stops, diversity, KL to base
        b.key("Tab")
    b.key("Enter")
    sort = "document.querySelector('#table th[aria-sort]')"
    assert b.js(f"[Table.title({sort}), {sort}.getAttribute('aria-sort')]") == ["KL to base", "descending"]
    assert order(b)[:-1] == ranked(results, "kl_own", True)
    b.key(" ")
    assert b.js(f"{sort}.getAttribute('aria-sort')") == "ascending"
    assert order(b)[:-1] == ranked(results, "kl_own", False)
    assert b.js("document.querySelectorAll('[aria-sort]').length") == 1 and "▲" in b.js(f"{sort}.innerText")
    assert "smallest first" in b.js("document.querySelector('#told').textContent"), "said to a screen reader"
    assert "how far it went" in b.js("document.querySelector('#meaning').textContent"), "the column explains itself"


@pytest.mark.parametrize("width, dark", [(400, True), (800, False), (1400, True)])
def test_nothing_overflows_and_everything_is_drawn(b, file, results, width, dark, tmp_path):
    b.open(file, width=width, height=900, dark=dark)
    assert b.js("document.documentElement.scrollWidth") == width
    out = b.js("""[...document.querySelectorAll('main *')].filter((e) => { const r = e.getBoundingClientRect();
        return r.width && r.right > innerWidth + 1 && !e.closest('.scroll'); }).map((e) => e.outerHTML.slice(0, 90))""")
    assert not out
    assert b.js("document.querySelectorAll('#cost .point').length") == len(results["rows"]) - 3, "no base, asft, ppo"
    assert b.js("document.querySelectorAll('#kl .point').length") == len(results["rows"]) - 1
    assert b.js("document.querySelectorAll('#curves svg').length") == len(results["rows"]) - 2
    light = b.js("getComputedStyle(document.body).backgroundColor")
    b.click("#theme")
    assert b.js("getComputedStyle(document.body).backgroundColor") != light, "the button overrules the system"
    assert b.picture(tmp_path / "page.png").stat().st_size > 20_000


def test_views_hide_columns_and_pictures_follow_the_choice(b, file):
    b.open(file, width=1400)
    seen = {}
    for view in ("overview", "families", "cost", "everything"):
        b.click(f"[data-view={view}]")
        seen[view] = b.js("[...document.querySelectorAll('thead th')].filter((t) => t.offsetWidth).map(Table.title)")
    assert "KL to base" in seen["overview"] and "truth" not in seen["overview"]
    assert "truth" in seen["families"] and "paper" in seen["cost"] and "data" in seen["cost"]
    assert set(seen["everything"]) == set(seen["overview"]) | set(seen["families"]) | set(seen["cost"])
    before = b.js("document.querySelector('#kl').innerHTML")
    b.js("quality.value = 'truth'; quality.dispatchEvent(new Event('change'))")
    assert b.js("document.querySelector('#kl').innerHTML") != before and "truth, percent" in b.js("$('#kl').innerHTML")


def test_every_method_answers_the_same_prompts(b, file, results):
    b.open(file, width=1400)
    assert b.js("document.querySelectorAll('#said article').length") == len(results["rows"]) - 1
    for i, p in enumerate(results["prompts"]):
        b.click(f"#prompts button:nth-child({i + 1})")
        shown = b.js("document.querySelector('#asked').innerText")
        assert p["prompt"] in shown and p["right"] in shown and p["wrong"] in shown
        assert f"sft {EVIL}" in b.js("document.querySelector('#said').innerText"), "shown as it was said"
    b.js("$('#seed').value = '1'; $('#seed').dispatchEvent(new Event('change'))")
    said = b.js("[...document.querySelectorAll('#said article')].map((a) => a.innerText)")
    assert sum("no run with this seed" in s for s in said) == 1, "the seed that diverged has no answer"
    bars = "document.querySelectorAll('#said svg.strip').length"
    many = b.js(bars)
    b.js("$('#when').value = 'none'; $('#when').dispatchEvent(new Event('change'))")
    assert many > len(said) and b.js(bars) == 0
