"""What is drawn: each method has a colour, a picture shows the figures of a run, and on the
playground page, picture, address and record agree, whatever a visitor presses."""
import itertools
import json
import re
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from browser import check_accessible, opened, words_not_shown
from commands import call
from made import write_jsonl
from PIL import Image

from nanouft import pushes
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.pictures import colours, plots
from nanouft.pictures.colours import write_page
from nanouft.playground import record as playground
from nanouft.playground.record import (
    QUESTIONS,
    WEB,
    list_rows,
    lr_text,
    method_data,
    model_after_each_step,
    record,
)
from nanouft.plumbing.files import write_json

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


# ---- colours and pictures ------------------------------------------------------------------------
def light(colour: str) -> float:
    """How light "#rrggbb" is, from 0 to 1."""
    x = np.array([int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    x = np.where(x <= .04045, x / 12.92, ((x + .055) / 1.055) ** 2.4)
    return float(x @ [.2126, .7152, .0722])


@pytest.mark.parametrize("side", ["light", "dark"])
def test_the_colours_of_every_method_can_be_read_and_its_mark_tells_it_apart(side):
    methods = {k: x for k, x in colours.FAMILIES.items() if k not in ("base", "truth")}
    shown = [*methods.values(), colours.UP, colours.DOWN, colours.SOFT]
    for both in itertools.product(shown, (colours.PAGE, colours.PANEL)):
        dim, bright = sorted(light(getattr(look, side)) for look in both)
        assert (bright + .05) / (dim + .05) > 4.5, both
    assert len({look.mark for look in methods.values()}) == len(methods)
    assert all(getattr(colours.style_of(name), side) for name in OBJECTIVES)
    assert not colours.style_of("ift released").dashed and colours.style_of("ift").dashed


def test_held_out_rows_have_a_panel_of_their_own(tmp_path, monkeypatch):
    """A loss may have another unit. The titles tell rows and passes; the running mean of a constant
    is that constant."""
    drawn = []
    monkeypatch.setattr(plots, "save", lambda fig, file: drawn.append(fig) or file)
    log = [{"step": n, "loss": 0.1, "grad_norm": 1} for n in range(1, 9)]
    log.insert(4, {"step": 4, "held_out": {"accuracy": 0.7}})
    write_jsonl(tmp_path / "metrics.jsonl", log)
    write_json(tmp_path / "run.json", {"objective": "dpo", "hp": {}, "passes": 2.0})
    write_json(tmp_path / "eval.json", {when: {"held_out": {"accuracy": x, "rows": 4}}
                                        for when, x in (("before", 0.5), ("after", 0.75))})
    plots.draw_curves(tmp_path)
    held_out, loss = drawn[0].axes
    assert held_out.get_title("left") == "DPO: accuracy of 4 held-out rows 0.50 → 0.75"
    assert held_out.lines[0].get_xydata().tolist() == [[0, .5], [4, .7], [8, .75]]
    assert held_out.get_ylim()[1] > 0.75
    assert "2 epochs" in loss.get_title("left")
    assert loss.lines[-1].get_ydata() == pytest.approx([0.1] * 8)


def test_the_pushes_on_a_long_answer_take_several_rows(tmp_path, monkeypatch, capsys, recorded):
    """In the picture and in the terminal. DPOP's further term begins where the chosen answer falls,
    so it pushes as DPO at the reference, which is told; and a file keeps its letters."""
    drawn: list = []
    monkeypatch.setattr(plots, "save", lambda fig, file: drawn.append(fig) or file)
    monkeypatch.chdir(tmp_path)
    Path("DPOP.py").write_text("""import torch.nn.functional as F
from nanouft.objectives.dpo import Pairs


class DPOP(Pairs):
    def each(self, i_w, i_l, batch):
        return -F.logsigmoid(i_w - i_l - 5 * F.relu(-i_w))
""")
    line = "pushes --prompt a --answer 'Sort pig bee saw. Sort pig bee saw.' --show sft DPOP.py"
    assert call(line) == 0
    recorded("pushes", line, told := capsys.readouterr().out)
    texts = [text for text in drawn[0].axes[0].texts if text.get_text()[0] in "+−"]
    assert [text.get_text().replace("−", "-") for text in texts] == re.findall(
        r"(?<=\s)[+-]\d\.\d\d", told)
    assert all(plots.LEFT < text.get_position()[0] < plots.WIDTH for text in texts)
    assert {text.get_text() for text in drawn[0].axes[0].texts} >= {"SFT", "DPOP.py"}


def test_the_title_of_the_pushes_names_who_pushes_the_last_token_least_and_most():
    def title(*last: tuple[str, float]) -> str:
        return plots.title_of_pushes([(name, "answer", ["<|end|>"], [push]) for name, push in last])
    assert title(("sft", 1.0), ("ift --variant released", -0.9)) == (
        "IFT (released) pushes <|end|> down (−0.90), SFT up (+1.00)")
    assert title(("sft", 1.0)) == "SFT pushes <|end|> up (+1.00)"
    assert [plots.token_name(token) for token in (" fern", "\n", " photosynthesises")] == [
        "fern", "'\\n'", "photosynt…"]


def test_the_picture_of_the_pushes_has_the_words_of_today(tmp_path):
    """The numbers and the title below which they stand are those of a trained model, IFT's."""
    def words(picture: Path) -> list[str]:
        title, *texts = json.loads(Image.open(picture).info["figures"])["texts"]
        return [re.sub(r"[+−]?\d+(\.\d+)?", "", text) for text in texts]
    file = tmp_path / "new" / "pushes.png"
    assert pushes.main(["--out", str(file)]) == 0 and Image.open(file).width == 1080
    assert words(DOCS / "pushes.png") == words(file)


# ---- the playground: what is recorded ------------------------------------------------------------
RATES = ["3e-5", "1e-4", "2.5e-4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(what the page reads, the page). Of SFT, IFT and DPO it is recorded; every other method is
    told as it is, and has the answers and pushes of one of these."""
    data = record(("sft", "ift", "dpo"))
    methods, scores = data["methods"], json.loads((WEB / "scores.json").read_text("utf-8"))
    lent = itertools.cycle([*methods.values()])
    for name in [name for name in OBJECTIVES if name not in methods]:
        facts, lender = method_data(name, OBJECTIVES[name], {}, scores.get(name, {})), next(lent)
        runs = lender["runs"] | {facts["own"]: lender["runs"][lender["own"]]}
        methods[name] = facts | {"answers": lender["answers"], "runs": runs}
    return data, write_page(WEB, data, tmp_path_factory.mktemp("playground"))


def ends(text: str) -> bool:
    """Whether the first mark of an answer is <|end|>."""
    mark = re.search(r"<\|\w+\|>", text)
    return mark is not None and mark[0] == "<|end|>"


def frame(data, name: str, rate: str, step: int) -> tuple[list[str], list[list[float]]]:
    """(the answers, the push on each token of what the loss reads)"""
    runs, own = (data["methods"][name][key] for key in ("runs", "own"))
    said, _, push = runs[own if rate == "own" else rate][step]
    return [data["texts"][text] for text in said], push


def stops(data, name: str, rate: str, step: int = 4) -> int:
    said, _ = frame(data, name, rate, step)
    return sum(map(ends, said))


def test_at_one_rate_sft_and_dpo_differ_and_released_ift_stops_at_none(made):
    """What README, the first page and the verdict tell; nothing stops before the first step, and
    an answer that does not stop is not cut off: it asks the next question."""
    data, _ = made
    assert [stops(data, "sft", rate) for rate in RATES] == [2, 8, 8]
    assert [stops(data, "dpo", rate) for rate in RATES] == [0, 2, 7]
    assert [stops(data, "ift-released", rate) for rate in RATES] == [0, 0, 0]
    assert not any(stops(data, name, rate, 0) for name, x in data["methods"].items()
                   for rate in x["runs"])
    marks = {re.findall(r"<\|\w+\|>", text)[0] for text in data["texts"]}
    assert marks == {"<|end|>", "<|user|>"}


def test_the_last_frame_is_of_the_model_after_all_steps_against_that_before_them(made):
    """The push on each token of both answers; the chance is a plain mean over the questions."""
    (base, tok), dpo = start_model("base"), OBJECTIVES["dpo"]()
    *_, model = model_after_each_step(dpo, base, tok)
    row, *_ = rows = list_rows("val", QUESTIONS)
    _, chance, told = made[0]["methods"]["dpo"]["runs"][lr_text(dpo.lr)][-1]
    assert told == [pytest.approx(push, abs=6e-4) for *_, push in
                    pushes.token_pushes(dpo, row, model, tok, reference=base)]
    chances = [pushes.end_probability(model, tok, row) for row in rows]
    assert chance == pytest.approx(np.mean(chances), abs=6e-4) and 0 < chance < 1


@pytest.mark.slow
def test_every_method_is_recorded_with_its_code(monkeypatch):
    """After one step at its own learning rate; the methods that the page has are those of today."""
    monkeypatch.setattr(playground, "STEPS", 1)
    methods = record((), (), also=[str(ROOT / "lessons/papers/extras/ts_dpo.py")])["methods"]
    assert [name for name in methods if name != "ift-released"] == [*OBJECTIVES, "ts_dpo"]
    for name, x in methods.items():
        (before, after), = x["runs"].values()
        assert (ROOT / x["file"]).is_file() and before != after
        assert x["equation"] and x["idea"] and "def " in x["code"]
        look = colours.style_of(name.partition("-")[0])
        assert (colours.FAMILIES[x["family"]].light, x["mark"]) == (look.light, look.mark)
    for name, function in (("ts_dpo", "linear_logits"), ("dpo", "loss"), ("dpo", "log_ratio")):
        assert f"def {function}(" in methods[name]["code"]


HALF = '''"""{name}: half of SFT.

{head}"""
from nanouft.objective import Objective
from nanouft.objectives.sft import nll


class Mine(Objective):
    lr = 1.04e-4

    def loss(self, batch):
        return 0.5 * nll(batch), {{}}


Mine.__name__ = {name!r}
'''


def test_a_method_of_your_own_is_on_the_page_and_its_names_are_text(tmp_path, browser):
    """With its pushes, its code, and what the head of its file says; "not measured". A name of a
    class or a file, whatever it holds, is no markup and no script, and can be chosen."""
    evil = "<img src=x onerror=\"document.title='run'\">&amp;\""
    head = "    L = -1/2 mean log p_t\n    arXiv:1234.56789\n"
    files = [tmp_path / f"{evil}.py".replace("/", ""), tmp_path / "mine.py"]
    for file, name, told_of in zip(files, (evil, "Mine"), ("Nothing more.\n", head)):
        file.write_text(HALF.format(name=name, head=told_of), encoding="utf-8")
    data = record(("sft",), (2.5e-4,), also=[*map(str, files)])
    assert data["methods"]["mine"]["own"] == "1.04e-4"      # not 1e-4, which is another rate
    _, _, (push,) = data["methods"]["mine"]["runs"]["2.5e-4"][0]
    assert push == pytest.approx([0.5] * len(push), abs=1e-3)
    page, faults = opened(browser, write_page(WEB, data, tmp_path))
    page.select_option("#right", evil)
    assert evil in page.inner_text("[data-bet=right]")
    page.click("[data-bet=right]")
    assert f"You bet on {evil}" in told(page)
    page.select_option("#left", evil)
    page.select_option("#right", "mine")
    page.click("summary")
    theirs, mine = page.locator("#losses > div").all_inner_texts()
    assert evil in theirs and f"See the head of {evil}" in theirs and "arXiv" not in theirs
    assert evil in page.text_content("#map") and page.locator("img").count() == 0
    for said in ("0.5 * nll(batch)", "Half of SFT.", "L = -1/2 mean log p_t", "arXiv:1234.56789",
                 "after a whole run: not measured."):
        assert said in mine
    assert page.get_attribute("#map-mine", "aria-label").endswith("not scored")
    assert page.title().startswith("Which loss") and not faults


# ---- the playground: page, picture, address and record agree -------------------------------------
FIRST = {"left": "sft", "right": "dpo", "rate": "1e-4", "step": "0", "answers": "short"}
NUMBERS = "none one two three four five six seven eight".split()
LEAVE = """(way) => new Promise((done) => {
    addEventListener("popstate", done, { once: true });
    history[way](); })"""
REDRAWN = "$('map').getAttribute('viewBox').includes(` ${$('map').clientWidth} `)"
SHOWN = """() => {
    const words = (x) => x.textContent.replace(/\\s+/g, " ").trim();
    const all = (where, what = words) => [...document.querySelectorAll(where)].map(what);
    const place = (x) => x.style.transform.match(/-?[\\d.]+/g).map(Number);
    return { state: state(), address: location.hash,
      set: all("select, :checked:not(option)", (x) => x.value),
      sides: SIDES.map((side) => [words($(`${side}Count`)), all(`[id^=${side}] .end`).length,
        ...all(`.answer[id^=${side}]`)]),
      losses: all("#losses > div", (x) => [words(x), [...x.querySelectorAll(".up")].map((up) =>
        words(up) !== "")]), verdict: words($("verdict")),
      why: $("why").hidden ? [] : all("#byRate tr:has(td), #never button"),
      wraps: getComputedStyle(document.querySelector(".said")).whiteSpace === "normal",
      map: all("#map [data-method]", (x) => [x.dataset.method, x.ariaLabel, x.ariaPressed,
        ...place(x.children[1])]) }; }"""


def told(page, where: str = "verdict") -> str:
    """The verdict, or another part of the page, in one line."""
    return " ".join(page.inner_text(f"#{where}").split())


def focused(page) -> str:
    """What has the focus: its id, its method or its kind."""
    return page.evaluate("""() => { const x = document.activeElement;
        return x.id || x.dataset.method || x.tagName.toLowerCase(); }""")


def agrees(page, data, now: dict[str, str]) -> None:
    """Controls, address, answers, words and map show one state, and what the record has of it."""
    seen, methods, rate, step = page.evaluate(SHOWN), data["methods"], now["rate"], int(now["step"])
    called = {name: x["called"] for name, x in methods.items()}
    names = [now["left"], now["right"]]
    counts = [stops(data, name, rate, step) for name in names]
    assert seen["state"] == now and seen["address"] == "#" + urlencode(now)
    whole = ["on"] if now["answers"] == "whole" else []
    assert seen["set"] == [rate, now["step"], *whole, *names] and seen["wraps"] == bool(whole)
    for name, n, (count, ended, *said), (loss, ups) in zip(names, counts, seen["sides"],
                                                           seen["losses"]):
        assert count.startswith(f"{n} of 8 stop {'●' * n}{'○' * (8 - n)} at ") and ended == n
        texts, pushes_told = frame(data, name, rate, step)
        assert said == [text.replace("\t", " ") + ("" if ends(text) else "no EOS")
                        for text in texts]
        assert ups == [push >= 0 for answer in pushes_told for push in answer]
        for start, (mean, half, source) in methods[name]["scores"].items():
            compared = f" (run {source})" if source[0] == "C" else ", compared with nothing"
            assert f"{start} {mean:.1f} ± {half:.1f}{compared}" in loss
    if not step:
        assert "no answer stops" in seen["verdict"]
    else:
        assert f"{NUMBERS[counts[0]]} of eight answers stop" in seen["verdict"]
        assert f"and {NUMBERS[counts[1]]} with {called[names[1]]}" in seen["verdict"]
    # after the last step: at all rates; and the losses that no rate helps
    never = [called[name] for name in methods if name not in names
             and all(stops(data, name, x) <= 4 for x in RATES)]
    rows = [f"{methods[x]['mark']} {called[x]}" + "".join(str(stops(data, x, y)) for y in RATES)
            for x in names]
    assert seen["why"] == ([*rows, *never] if step == 4 else [])
    # the map: its labels, and its marks in the order of stops: across, on a phone in rows
    for name, label, pressed, *_ in seen["map"]:
        score = {start: f"{mean:.1f} ± {half:.1f}"
                 for start, (mean, half, _) in methods[name]["scores"].items()}
        assert pressed == str(name in names).lower()
        assert label == f"{called[name]}: {stops(data, name, rate)} of 8 stop, " + (
            f"score {score['from the base model']}" if "from the base model" in score else
            f"compared with nothing, {score['after SFT']} after SFT" if score else "not scored")
    wide = page.viewport_size["width"] > 390
    along = sorted((x if wide else -y, stops(data, name, rate)) for name, *_, x, y in seen["map"])
    assert [n for _, n in along] == sorted(n for _, n in along)


def test_page_picture_address_and_record_agree_on_a_walk(made, browser):
    """Back and Forward lead to the states before and after, a link opens the last one, and a broken
    address the first."""
    data, file = made
    page, faults = opened(browser, file)
    page.click("[data-bet=left]")
    places = [FIRST, FIRST | {"step": "4"}]
    for press, change in (
            (lambda: page.click("#step-1"), {"step": "1"}),
            (lambda: page.press("#rate-own", "Space"), {"rate": "own"}),
            (lambda: page.select_option("#left", "ift-released"), {"left": "ift-released"}),
            (lambda: page.click("#teach"), {"step": "4"}),
            (lambda: page.click("#whole"), {"answers": "whole"}),
            (lambda: page.click("#map-grpo text >> nth=1"), {"left": "grpo"}),
            (lambda: page.select_option("#right", "kto"), {"right": "kto"}),
            (lambda: page.click("#never button"), {"right": "ift-released"}),
            (lambda: page.click("#rate-3e-5"), {"rate": "3e-5"})):
        press()
        places.append(places[-1] | change)
        agrees(page, data, places[-1])
    for way, there in (("back", -2), ("back", -3), ("forward", -2)):
        page.evaluate(LEAVE, way)
        agrees(page, data, places[there])
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function(REDRAWN)
    page.reload()
    agrees(page, data, places[-2])
    for broken in ("#left=zzz&rate=7&step=9", "#%%%", "#left=__proto__", "#step=",
                   "#left=sft&left=dpo"):
        page.goto(file.resolve().as_uri() + broken)
        assert page.evaluate("state()") == FIRST, broken
    assert all(x.startswith("file:") for x in faults)   # the page itself


def test_a_bet_is_answered_at_its_own_rate(made, browser):
    """And not before the first step. Four of eight are not most."""
    page, _ = opened(browser, made[1])
    assert page.evaluate("[winner(4, 5), winner(5, 4), winner(4, 4), winner(5, 5)]") == [
        "right", "left", "neither", "both"]
    assert not page.is_visible("#map")
    page.click("[data-bet=left]")
    assert focused(page) == "teach" and not page.locator("[data-bet]").count()
    for press, said in (("#step-4", "SFT: right."), ("#step-1", "SFT: not yet."),
                        ("#step-0", "SFT."), ("#rate-own", "")):
        page.click(press)
        assert told(page).partition(" You bet on ")[2] == said


def test_a_rate_goes_on_with_the_steps_that_run_and_a_step_ends_them(made, browser):
    """A bet begins the steps, and the button begins them again. A step ends them, also the one that
    is shown, and Back leads to their beginning."""
    page, faults = opened(browser, made[1], calm=False)
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)

    def after(ms: int) -> str:
        page.clock.run_for(ms)
        return page.evaluate("state().step")
    page.click("[data-bet=left]")
    assert after(1500) == "1"
    page.click("#rate-2\\.5e-4")
    assert after(0) == "1" and after(5500) == "4"
    for leave, step in ((lambda: page.click("#step-1"), "1"),
                        (lambda: page.evaluate(LEAVE, "back"), "0")):
        page.click("#teach")
        assert after(0) == "0" and after(1500) == "1"
        leave()
        assert after(6000) == step
    assert not faults


def test_the_cause_of_a_difference_is_told_where_the_rate_is_one(made, browser):
    page, faults = opened(browser, made[1], address="#step=4")
    assert "pushes work against each other" in told(page, "why")
    page.click("#rate-2\\.5e-4")             # one answer of eight is no story
    assert "pushes" not in told(page, "why")
    page.click("#never [data-method=ift-released]")
    assert "IFT as released doesn’t get past half" in told(page, "never")
    page.select_option("#right", "dpo")
    page.click("#rate-own")
    assert "Two things differ here" in told(page, "why") and "pushes" not in told(page, "why")
    assert "SFT (2.5e-4)" in told(page) and "DPO (3e-5)" in told(page) and not faults


def test_on_the_map_arrows_walk_all_losses_and_a_key_chooses_one(made, browser):
    """For the side that was changed last."""
    page, _ = opened(browser, made[1], address="#step=4")
    page.select_option("#left", "ift")
    page.focus("#map-dpo")
    walked = []
    for _ in made[0]["methods"]:
        page.keyboard.press("ArrowRight")
        walked.append(focused(page))
    assert sorted(walked) == sorted(f"map-{name}" for name in made[0]["methods"])
    assert walked[-1] == "map-dpo"
    for key, name in (("Enter", "grpo"), ("Space", "dpo")):
        page.focus(f"#map-{name}")
        page.keyboard.press(key)
        now = page.evaluate("state()")
        assert (now["left"], now["right"], focused(page)) == (name, "dpo", "left")


# ---- the playground: for every reader ------------------------------------------------------------
def test_everybody_can_read_and_work_the_page(made, browser):
    check_accessible(browser, made[1], "[data-bet=left]", "#map-ift text >> nth=1")


def test_no_end_of_an_answer_is_cut_and_no_name_covers_another(made, browser):
    for address in ("#step=4", "#left=ift-released&right=grpo&rate=own&step=4"):
        page, _ = opened(browser, made[1], address=address)
        for width in (320, 390, 700, 900, 1280, 2560):
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function(REDRAWN)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            assert page.locator(".answer:not(:has(> i)) .said").evaluate_all(
                "(all) => all.every((x) => x.scrollWidth <= x.clientWidth + 1)"), width
            boxes = page.locator("#map [data-method] text:last-child").evaluate_all(
                "(all) => all.map((x) => x.getBoundingClientRect()).map((b) => "
                "[b.x, b.y, b.width, b.height])")
            for (ax, ay, aw, ah), (bx, by, bw, bh) in itertools.combinations(boxes, 2):
                apart = ax + aw < bx + 1 or bx + bw < ax + 1 or abs(ay - by) > min(ah, bh) - 5
                assert apart, f"two names cover each other at {width} pixels"


def test_the_picture_of_the_page_shows_the_page_of_today(made, browser):
    """Every text of the picture is on the page, after the same press."""
    page, _ = opened(browser, made[1], 1280, 4000)
    page.click("#step-4")
    assert not words_not_shown(page, DOCS / "playground.png")
