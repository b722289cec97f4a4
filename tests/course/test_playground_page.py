"""What is drawn: each method has a colour, a picture shows the figures of a run, and on the
playground page, picture, address and record agree, whatever a visitor presses."""
import itertools
import random
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from browser import check_accessible, opened, words_not_shown
from made import write_jsonl
from PIL import Image

from nanouft import pushes
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.pictures import colours, plots
from nanouft.pictures.colours import write_page
from nanouft.playground.record import (
    QUESTIONS,
    WEB,
    list_rows,
    lr_text,
    model_after_each_step,
    record,
)
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_json


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


# ---- pictures ------------------------------------------------------------------------------------
@pytest.mark.parametrize("objective, figure", [("sft", "nll"), ("dpo", "accuracy"), ("ift", "nll")])
def test_held_out_rows_have_a_panel_of_their_own(objective, figure, tmp_path, monkeypatch):
    """A loss may have another unit. The titles tell rows and passes; the running mean of a constant
    is that constant."""
    drawn = []
    monkeypatch.setattr(plots, "save", lambda fig, file: drawn.append(fig) or file)
    log = [{"step": n, "loss": 0.1, "grad_norm": 1} for n in range(1, 9)]
    log.insert(4, {"step": 4, "held_out": {figure: 0.7}})
    write_jsonl(tmp_path / "metrics.jsonl", log)
    write_json(tmp_path / "run.json", {"objective": objective, "hp": {}, "passes": 2.0})
    write_json(tmp_path / "eval.json", {when: {"held_out": {figure: x, "rows": 4}}
                                        for when, x in (("before", 0.5), ("after", 0.75))})
    plots.draw_curves(tmp_path)
    axes = drawn[0].axes
    assert len(axes) == 2
    assert axes[0].get_title("left").startswith(
        f"{objective.upper()}: {figure} of 4 held-out rows 0.50 → 0.75")
    assert "2 epochs" in axes[-1].get_title("left")
    assert axes[-1].lines[-1].get_ydata() == pytest.approx([0.1] * 8)
    told = [line for line in axes[0].lines if line.get_marker() == "s"]
    assert len(told) == 1 and told[0].get_xydata().tolist() == [[0, .5], [4, .7], [8, .75]]
    assert axes[0].get_ylim()[1] > 0.75


def test_the_pushes_on_a_long_answer_take_several_rows(tmp_path, monkeypatch, capsys):
    """In the picture and in the terminal, of at most 80 columns; a long token is cut."""
    drawn: list = []
    monkeypatch.setattr(plots, "save", lambda fig, file: drawn.append(fig) or file)
    long = " ".join(["Sort pig bee saw."] * 3)
    assert pushes.main(["--show", "ift", "--prompt", "a", "--answer", long, "--out",
                        str(tmp_path / "p.png")]) == 0
    out = capsys.readouterr().out
    said = [x for x in out.split() if re.fullmatch(r"[+-]\d\.\d\d", x)]
    texts = [t for t in drawn[0].axes[0].texts if t.get_text()[0] in "+−"]
    assert [t.get_text().replace("−", "-") for t in texts] == said and len(said) == 16
    assert max(map(len, out.splitlines()[1:-1])) <= 80
    assert all(plots.LEFT < t.get_position()[0] < plots.WIDTH for t in texts)
    assert [plots.token_name(t) for t in (" fern", "\n", " photosynthesises", "<|im_end|>")] == [
        "fern", "'\\n'", "photosynt…", "<|im_end|>"]


def test_pushes_shows_four_methods_and_says_what_it_found(tmp_path, capsys):
    file = tmp_path / "new" / "pushes.png"
    assert pushes.main(["--out", str(file)]) == 0 and Image.open(file).width == 1080
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.endswith(" answer")] == [
        "sft: the answer", "ift: the answer", "ift --variant released: the answer",
        "dpo: the chosen answer", "dpo: the rejected answer"]
    right = [("sft", "answer", ["<|end|>"], [1.0]),
             ("ift --variant released", "answer", ["<|end|>"], [-0.9])]
    assert plots.title_of_pushes(right) == (
        "IFT (released) pushes <|end|> down (−0.90), SFT up (+1.00)")
    hyphen = [("sft", "answer", ["-"], [1.0]), ("dpo", "answer", ["-"], [-0.5])]
    assert plots.title_of_pushes(hyphen) == "DPO pushes - down (−0.50), SFT up (+1.00)"


# ---- the pictures of docs/ -----------------------------------------------------------------------
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-\d+)?")


def show_the_same(kept, now, off: float = 0.021) -> bool:
    """Two pictures: the same words, and the same numbers up to what another CPU may round."""
    texts = [Image.open(file).info["figures"] for file in (kept, now)]
    numbers = [[*map(float, NUMBER.findall(text))] for text in texts]
    words = {NUMBER.sub("", text) for text in texts}
    return len(words) == 1 and numbers[0] == pytest.approx(numbers[1], abs=off)


@pytest.mark.slow
def test_a_loss_that_pushes_as_dpo_at_the_reference_is_named(tmp_path, capsys):
    """A term that begins where the chosen answer falls is 0 there; and a file keeps its letters."""
    file = tmp_path / "dpop.py"
    file.write_text("""import torch.nn.functional as F
from nanouft.objectives.dpo import Pairs


class DPOP(Pairs):
    def each(self, i_w, i_l, batch):
        return -F.logsigmoid(i_w - i_l - 5 * F.relu(-i_w))
""")
    for shown, named in ((["sft", "dpo", str(file)], True), (["sft", "dpo", "hinge"], False)):
        assert pushes.main(["--show", *shown, "--out", str(tmp_path / "p.png")]) == 0
        assert (f"Pushes as dpo here: {file}." in capsys.readouterr().out) == named
    assert plots.display_name(str(file)) == "dpop.py"


def test_the_picture_of_the_pushes_shows_what_a_trained_model_gets(tmp_path):
    """From IFT's run, as docs/methods.md says."""
    subprocess.run([sys.executable, "-m", "nanouft.train", "--objective", "ift", "--items", "1",
                    "--out", tmp_path / "ift"], check=True, capture_output=True)
    assert pushes.main(["--init", str(tmp_path / "ift"), "--out", str(tmp_path / "p.png")]) == 0
    assert show_the_same(DOCS / "pushes.png", tmp_path / "p.png", off=0.5)


# ---- the playground: what is recorded ------------------------------------------------------------
RATES = ["3e-5", "1e-4", "2.5e-4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(what the page reads, of a few methods; the page)."""
    data = record(("sft", "ift", "dpo", "grpo"))
    return data, write_page(WEB, data, tmp_path_factory.mktemp("playground"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same of all methods, at the highest rate and at each method's own."""
    data = record((), (2.5e-4,), also=[str(ROOT / "lessons/papers/extras/ts_dpo.py")])
    return data, write_page(WEB, data, tmp_path_factory.mktemp("whole"))


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


def test_everybody_can_read_and_work_the_page(made, browser):
    check_accessible(browser, made[1], "[data-bet=left]", "#map-ift text >> nth=1")


def test_the_picture_of_the_page_shows_the_page_of_today(made, browser):
    """Every text of the picture is on the page, after the same press."""
    page, _ = opened(browser, made[1], 1280, 4000)
    page.click("#step-4")
    assert not words_not_shown(page, DOCS / "playground.png")


@pytest.mark.slow
def test_every_method_is_on_the_page_and_the_page_is_small(whole):
    """And only one loss, which gets none at lower rates, gets no more than half of the answers."""
    data, file = whole
    methods = data["methods"]
    assert [name for name in methods if name != "ift-released"] == [*OBJECTIVES, "ts_dpo"]
    for name, x in methods.items():
        assert (ROOT / x["file"]).is_file()
        assert set(x["runs"]) == {"2.5e-4", x["own"]}
        assert all(len(frames) == 5 for frames in x["runs"].values())
        assert x["equation"] and x["idea"] and "def " in x["code"] and x["mark"]
        look = colours.style_of(name.partition("-")[0])
        assert colours.FAMILIES[x["family"]].light == look.light
    for name, function in (("ts_dpo", "linear_logits"), ("dpo", "loss"), ("dpo", "dpo_loss"),
                           ("dpo", "log_ratio")):
        assert f"def {function}(" in methods[name]["code"]
    few = [name for name in methods if stops(data, name, "2.5e-4") <= 4]
    assert few == ["ift-released"] and file.stat().st_size < 320_000


def never(data) -> list[str]:
    """The losses with which no rate makes more than half of the answers stop."""
    return [name for name in data["methods"]
            if all(stops(data, name, rate) <= 4 for rate in RATES)]


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
    with pytest.raises(UserError, match="--also sft: give FILE.py"):
        record(("sft",), also=["sft"])


# ---- the playground: page, picture, address and record agree -------------------------------------
FIRST = {"left": "sft", "right": "dpo", "rate": "1e-4", "step": "0", "answers": "short"}
NUMBERS = "none one two three four five six seven eight".split()
CONTROLS = {                                # what a visitor presses, and what it changes
    "#teach": {"step": "4"}, "#never button": {"right": "ift-released"}, "#whole": {},
    "#step-0": {"step": "0"}, "#step-1": {"step": "1"}, "#rate-3e-5": {"rate": "3e-5"},
    "#rate-2\\.5e-4": {"rate": "2.5e-4"}, "#rate-own": {"rate": "own"},
    "#left = ift-released": {"left": "ift-released"}, "#right = grpo": {"right": "grpo"},
    "#right = sft": {"right": "sft"}, "#map-ift text >> nth=1": {"last": "ift"},
    "#map-dpo text >> nth=1": {"last": "dpo"}, "back": {}, "forward": {}, "phone": {}}
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
        words(up) !== "")]), verdict: words($("verdict")), last: words($("lastSide")),
      why: $("why").hidden ? [] : all("#byRate tr:has(td), #never button"),
      wraps: getComputedStyle(document.querySelector(".said")).whiteSpace === "normal",
      map: all("#map [data-method]", (x) => [x.dataset.method, x.ariaLabel, x.ariaPressed,
        x.tabIndex, ...place(x.children[1])]),
      drawn: all("#verdict, #why, #map, #losses p, .bars", (x) => x.innerHTML).join() }; }"""


def told(page, where: str = "verdict") -> str:
    """The verdict, or another part of the page, in one line."""
    return " ".join(page.inner_text(f"#{where}").split())


def focused(page) -> str:
    """What has the focus: its bet, its id, its method or its kind."""
    return page.evaluate("""() => { const x = document.activeElement;
        return x.dataset.bet || x.id || x.dataset.method || x.tagName.toLowerCase(); }""")


def agrees(page, data, now: dict[str, str], last: str, bet: str = "") -> None:
    """Controls, address, answers, words and map show one state, and what the record has of it. The
    bet is answered at its own learning rate only, and not before the first step."""
    seen, methods, rate, step = page.evaluate(SHOWN), data["methods"], now["rate"], int(now["step"])
    called = {name: x["called"] for name, x in methods.items()}
    names = [now["left"], now["right"]]
    counts = [stops(data, name, rate, step) for name in names]
    assert seen["state"] == now and seen["address"] == "#" + urlencode(now)
    whole = ["on"] if now["answers"] == "whole" else []
    assert seen["set"] == [rate, now["step"], *whole, *names] and seen["last"] == last
    assert seen["wraps"] == bool(whole)
    assert not re.search("undefined|NaN|Infinity", seen["drawn"])
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
        assert (f"and {NUMBERS[counts[1]]} with {called[names[1]]}" in seen["verdict"]
                or names[0] == names[1])
    most = [side for side, n in zip(("left", "right"), counts) if n > 4]
    hit = most == {"both": ["left", "right"], "neither": []}.get(bet, [bet])
    word = ("right so far" if hit else "not yet") if step < 4 else "right" if hit else "not so"
    on = {"left": "SFT", "right": "DPO"}.get(bet, bet) + (f": {word}." if step else ".")
    assert seen["verdict"].partition(" You bet on ")[2] == (
        on if bet and [*names, rate] == ["sft", "dpo", "1e-4"] else "")
    # at all rates; and the losses that no rate helps
    rows = [f"{methods[x]['mark']} {called[x]}" + "".join(str(stops(data, x, y)) for y in RATES)
            for x in names]
    assert seen["why"] == ([*rows, *(called[x] for x in never(data) if x not in names)]
                           if step == 4 and names[0] != names[1] else [])
    # the map: its labels, and its marks in the order of stops: across, on a phone in rows
    for name, label, pressed, stop, *_ in seen["map"]:
        score = {start: f"{mean:.1f} ± {half:.1f}"
                 for start, (mean, half, _) in methods[name]["scores"].items()}
        assert label == f"{called[name]}: {stops(data, name, rate)} of 8 stop, " + (
            f"score {score['from the base model']}" if "from the base model" in score else
            f"compared with nothing, {score['after SFT']} after SFT" if score else "not scored")
        assert (pressed, stop) == (str(name in names).lower(), 0 if name == now[last] else -1)
    wide = page.viewport_size["width"] > 390
    along = sorted((x if wide else -y, stops(data, name, rate)) for name, *_, x, y in seen["map"])
    assert [n for _, n in along] == sorted(n for _, n in along)


@pytest.mark.parametrize("bet", ["left", "right", "both", "neither"])
def test_page_picture_address_and_record_agree_after_a_walk(bet, made, browser):
    """Of controls in any order, by mouse and by key, after each of the bets. Back and Forward lead
    to the states before and after, a link opens the last one, and a broken address the first."""
    data, file = made
    page, faults = opened(browser, file, address="#" + urlencode(FIRST))
    assert page.evaluate("texts.map(stopped)") == [ends(text) for text in data["texts"]]
    assert page.evaluate("[winner(4, 5), winner(5, 4), winner(4, 4), winner(5, 5)]") == [
        "right", "left", "neither", "both"], "four of eight are not most"
    assert not page.is_visible("#map")
    page.click(f"[data-bet={bet}]")
    assert not page.locator("[data-bet]").count() and focused(page) == "teach"
    dice, last, places, here = random.Random(bet), "right", [FIRST, FIRST | {"step": "4"}], 1
    agrees(page, data, places[here], last, bet)
    for control in ["#step-1", *dice.choices([*CONTROLS], k=12)]:
        where, _, value = control.partition(" = ")
        if where in ("back", "forward"):
            there = here + (1 if where == "forward" else -1)
            if there in range(len(places)):
                page.evaluate(LEAVE, where)
                here = there
        elif where == "phone":
            narrow = page.viewport_size["width"] == 390
            page.set_viewport_size({"width": 1280 if narrow else 390, "height": 800})
            page.wait_for_function(REDRAWN)
        elif value or page.locator(where).first.is_visible():
            if value:
                page.select_option(where, value)
            elif dice.random() < 0.5 and "map" not in where:
                page.locator(where).first.press("Space")
            else:
                page.locator(where).first.click()
            change = CONTROLS[control]
            if where == "#whole":
                change = {"answers": "short" if places[here]["answers"] == "whole" else "whole"}
            elif "last" in change:              # of the map: to the side that was changed last
                change = {last: change["last"]}
            if not change.keys().isdisjoint(("left", "right")):
                last, = change
                assert value or focused(page) == last
            if places[here] | change != places[here]:
                places[here + 1:] = [places[here] | change]
                here += 1
        agrees(page, data, places[here], last, bet)
    page.click("#step-4")
    page.reload()
    agrees(page, data, places[here] | {"step": "4"}, "right")
    for broken in ("#left=zzz&rate=7&step=9", "#%%%", "#left=__proto__", "#step=",
                   "#left=sft&left=dpo"):
        page.goto(file.resolve().as_uri() + broken)
        assert page.evaluate("state()") == FIRST, broken
    assert all(x.startswith("file:") for x in faults)   # the page itself


# ---- the playground: single properties -----------------------------------------------------------
def test_controls_used_while_the_steps_run(made, browser):
    """A bet begins the steps; the button begins them again, and never stops them. A rate or a loss
    goes on with the run, a step ends it, also the one that is shown, and Back leads to its
    beginning."""
    page, faults = opened(browser, made[1], calm=False)
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)

    def after(ms: int) -> str:
        page.clock.run_for(ms)
        return page.evaluate("state().step")
    page.click("[data-bet=left]")
    for wait, step in ((1500, "1"), (0, "0"), (5500, "4")):
        assert after(wait) == step
        page.click("#teach")
    assert after(2200) == "2"
    page.click("#rate-2\\.5e-4")
    page.select_option("#right", "grpo")
    assert after(0) == "2" and after(4500) == "4"
    assert page.evaluate("state()") == FIRST | {"right": "grpo", "rate": "2.5e-4", "step": "4"}
    for step in "21":
        page.click("#teach")
        assert after(1500) == "1"
        page.click(f"#step-{step}")
        assert after(6000) == step
    for wait, step in ((6000, "4"), (1500, "1")):
        page.click("#teach")
        assert after(wait) == step
        page.evaluate(LEAVE, "back")
        assert after(6000) == "0"
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


@pytest.mark.parametrize("page_of, widths", [
    ("made", (320, 390, 700, 900, 1280)),
    pytest.param("whole", (320, 390, 700, 768, 900, 1024, 1280, 1920, 2560),
                 marks=pytest.mark.slow)])
def test_no_end_of_an_answer_is_cut(page_of, widths, request, browser):
    """No name of the map covers another, and nothing scrolls sideways."""
    for address in ("#step=4", "#left=ift-released&right=grpo&rate=own&step=4"):
        page, _ = opened(browser, request.getfixturevalue(page_of)[1], address=address)
        for width in widths:
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
