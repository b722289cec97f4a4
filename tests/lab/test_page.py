"""The comparison page: its numbers are those of results.json, it asks for nothing, it sorts by keyboard.

    python -m pytest tests/lab/test_page.py        about 20 s; wants Chromium or Chrome

Results are made up (made.py), with every oddity. What is missing on the machine is said aloud and skipped, as in
test_lake_page.py. The chooser above the table: test_chooser.py; what it draws: test_draw.py.
"""
import json
import re
from html import unescape
from pathlib import Path

import made
import pytest
from browser import Browser
from made import EVIL
from running import call, one_error

from lab import page
from lab.table import MEASURES

WORSE = "<!--TABLE--> /*DATA*/ /*PAGE_JS*/ <!-- <script> ' \" \x1b[2J \u2028 </SCRIPT>"  # such a name


@pytest.fixture(scope="module")
def results() -> dict:
    return made.results()


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
    data = json.loads(page_now.split("const DATA = ")[1].split(";\nconst MAP")[0])
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
        places, gain = cells[titles.index("rank")][1], cells[titles.index("minus SFT")]
        assert places == ("–" if not row["rank"] else " to ".join(map(str, dict.fromkeys(row["rank"]))))
        assert gain[0] == ("" if row["minus_sft"] is None else str(row["minus_sft"][0]))
        assert row["minus_sft"] is None or gain[1].endswith(row["verdict"])
    assert checked > 18 * len(rows), "every measure but Python's own has a column"
    assert "1 of 3 seeds diverged" in rows["rpo"][1][1] and rows["asft"][4] == ("", "–")
    assert "tpo" in rows["cpo"][1][1] and "tpo" not in rows, "what is the same to the last digit is one row, and said"


def test_links_lead_to_files_and_papers(file, text, results):
    links = re.findall(r'<a href="([^"]*)"', text)
    own = [x for x in links if x.startswith("#row=")]
    papers, files = ([x for x in links if x.startswith("http")],
                     [x for x in links if x[0] not in "h#" and not x.endswith("index.html")])
    assert len(own) == len(results["rows"]) and "#row=sft-%3Eppo" in own
    assert len(files) == len(results["rows"]) - 1 and all((file.parent / f).exists() for f in files)
    assert set(papers) == {f"https://arxiv.org/abs/{r['arxiv']}" for r in results["rows"].values() if r["arxiv"]}


# ---- the command -----------------------------------------------------------------------------------------------------
def test_the_page_is_made_anew_from_its_results(results, tmp_path, capsys):
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert call(page.main, "--results", tmp_path, "--out", tmp_path) == 0 and (tmp_path / "index.html").exists()
    one_error(call(page.main, "--results", tmp_path / "none"), capsys.readouterr().err, "results.json", "lab.compare")


# ---- in a browser (fixture b: conftest.py) ---------------------------------------------------------------------------


def order(b: Browser) -> list[str]:
    return b.js("[...document.querySelectorAll('tbody tr')].map((tr) => tr.dataset.name)")


def announced(b: Browser, words: str) -> None:
    """A screen reader hears these words, a moment after the act."""
    b.wait(f"document.querySelector('#told').textContent.includes({json.dumps(words)})")
    assert words in b.heard()


def ranked(results: dict, measure: str, down: bool) -> list[str]:
    there = [n for n, r in results["rows"].items() if r["figures"][measure]]
    return sorted(there, key=lambda n: results["rows"][n]["figures"][measure][0], reverse=down)


def test_the_table_is_sorted_by_keyboard_and_says_so(b, file, results):
    b.open(file, width=1400)
    assert order(b)[:-1] == ranked(results, "score", True) and order(b)[-1] == "asft", "the best first, nothing last"
    b.js("document.querySelector('#table [aria-sort] button').focus()")
    for _ in range(5):                                              # minus SFT, strict, stops, diversity, KL to base
        b.key("Tab")
    b.key("Enter")
    sort = "document.querySelector('#table th[aria-sort]')"
    assert b.js(f"[Table.title({sort}), {sort}.getAttribute('aria-sort')]") == ["KL to base", "ascending"]
    assert order(b)[:-1] == ranked(results, "kl_own", False), "the best first"
    b.key(" ")
    assert b.js(f"{sort}.getAttribute('aria-sort')") == "descending"
    assert order(b)[:-1] == ranked(results, "kl_own", True)
    assert b.js("document.querySelectorAll('[aria-sort]').length") == 1 and "▼" in b.js(f"{sort}.innerText")
    announced(b, "largest first")


@pytest.mark.parametrize("width", [320, 1400])
def test_everything_is_drawn(b, file, results, width):
    b.open(file, width=width, height=900)
    count = {x: b.js(f"document.querySelectorAll('{x}').length") for x in ("#cost .point", "#kl .point", "#curves svg")}
    n = len(results["rows"])
    assert list(count.values()) == [n - 3, n - 1, n - 2], "cost lacks base, asft, ppo"
    labels = "[...document.querySelectorAll('#kl .point text')].length"
    assert b.js(labels) == b.js("document.querySelector('#kl .front').getAttribute('d').split('L').length")


def test_theme_and_view_survive_a_reload(b, file):
    b.open(file, width=800, dark=True)
    system = b.js("getComputedStyle(document.body).backgroundColor")
    b.click("#theme")
    b.click("[data-view=cost]")
    chosen = b.js("getComputedStyle(document.body).backgroundColor")
    assert chosen != system, "the button overrules the system"
    b.open(file, b.js("location.hash"), width=800, dark=True)
    assert b.js("[getComputedStyle(document.body).backgroundColor, $('#table').className]") == [chosen, "cost"]
    b.js("localStorage.clear()")


def test_a_link_marks_its_row_its_points_its_curve_and_its_answers(b, file, results):
    b.open(file, "#row=sft-%3Edpo&learns=nonsense", width=1280)
    assert b.js("document.activeElement.textContent") == "sft->dpo", "the link of the row has the focus"
    announced(b, "row of sft->dpo")
    marked = b.js("[...document.querySelectorAll('[data-marked], .marked')].map((e) => e.dataset.name)")
    assert marked == ["sft->dpo"] * 5, "row, two points, curve, answers"
    b.click("#picked [data-go=answer]")
    assert b.js("document.activeElement.closest('article').dataset.name") == "sft->dpo"
    b.click("#picked [data-go=point]")
    assert b.js("document.activeElement.tagName") == "FIGURE" and b.js("$('.tip').textContent").startswith("sft->dpo:")
    b.js("named('#table tr', 'dpo').querySelector('a').focus()")
    b.key("Enter")
    assert b.js("[picked, location.hash.includes('row=dpo')]") == ["dpo", True]
    b.click("#picked [data-go='']")
    assert b.js("document.querySelectorAll('[data-marked], .marked').length") == 0
    p = b.js("""(() => { $("#cost").scrollIntoView({block: "center"}); const r = named("#cost .point", "ift")
        .querySelector("path").getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()""")
    b.drag([tuple(p)])
    assert b.js("picked") == "ift", "a click on a point"
    b.js("location.hash = 'view=cost'")
    b.wait("picked === null")


def test_filters_leave_the_rows_in_the_table_and_in_the_pictures(b, file, results):
    pairs = [n for n, r in results["rows"].items() if r["data"] == "pairs" and r["pipeline"] == "one stage"]
    b.open(file, "#learns=pairs&pipeline=one+stage", width=1280)
    assert sorted(b.js("[...document.querySelectorAll('#table tbody tr')].filter((t) => t.offsetHeight)"
                       ".map((t) => t.dataset.name)")) == sorted(pairs)
    assert b.js("document.querySelectorAll('#said article').length") == len(pairs) - 1, "asft has no seed left"
    b.js("$('#pipeline').value = 'two stages'; $('#pipeline').dispatchEvent(new Event('change'))")
    announced(b, "0 of")
    assert "nothing to draw" in b.js("$('#cost').textContent")
    b.open(file, "#learns=pairs&row=sft", width=1280)                   # the filter hides the marked row
    announced(b, "sft is not among the rows")
    b.click("#picked [data-go='']")
    assert b.js("[picked, document.activeElement.closest('thead') !== null]") == [None, True], "the focus is not lost"


def test_views_hide_columns_and_pictures_follow_the_choice(b, file):
    b.open(file, width=1400)
    seen = {}
    for view in ("overview", "families", "cost", "everything"):
        b.click(f"[data-view={view}]")
        seen[view] = b.js("[...document.querySelectorAll('thead th')].filter((t) => t.offsetWidth).map(Table.title)")
    assert "KL to base" in seen["overview"] and "truth" not in seen["overview"]
    assert "truth" in seen["families"] and "paper" in seen["cost"] and "pipeline" in seen["cost"]
    assert set(seen["everything"]) == set(seen["overview"]) | set(seen["families"]) | set(seen["cost"])
    b.open(file, width=1400, forced=True)
    b.js("$('#views [aria-pressed=true]').focus()")
    b.key("Tab"), b.key("Enter")
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert b.js(f"[document.activeElement.ariaPressed, {ring}]") == ["true", "double"], "focus differs from pressed"
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
