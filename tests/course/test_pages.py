"""The colours of methods; the pictures of a run; the playground in a browser."""
import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from browser import opened, words
from made import write_jsonl
from PIL import Image

from frozen_lake import record as lake
from frozen_lake.lake import make_lake
from lessons.evidence import pictures, whole_runs
from lessons.website import methods_page, pages, steps_picture
from nanouft import pushes
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.pictures import colours, plots
from nanouft.pictures.colours import write_page
from nanouft.playground.record import (
    QUESTIONS,
    WEB,
    lists,
    rate_text,
    record,
    taught,
)
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_json

# Red-green blindness on linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
SEEN = {"everybody": np.eye(3),
        "deuteranopia": np.array([[.367322, .860646, -.227968], [.280085, .672501, .047413],
                                  [-.011820, .042940, .968881]]),
        "protanopia": np.array([[.152286, 1.052583, -.204868], [.114503, .786281, .099216],
                                [-.003882, -.048116, 1.051998]])}
TO_XYZ = np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]])


def linear(colour: str) -> np.ndarray:
    """(3,) light of red, green and blue, from "#rrggbb"."""
    x = np.array([int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(x <= .04045, x / 12.92, ((x + .055) / 1.055) ** 2.4)


def lab(light: np.ndarray) -> np.ndarray:
    """(3,) CIELAB."""
    x = np.clip(TO_XYZ @ np.clip(light, 0, 1) / [.9505, 1, 1.089], 1e-9, None)
    f = np.where(x > .008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("side", ["light", "dark"])
def test_colours_can_be_read_and_told_apart(side):
    def of(look):
        return linear(getattr(look, side))
    methods = {k: x for k, x in colours.FAMILIES.items() if k not in ("base", "truth")}
    shown = [*methods.values(), colours.UP, colours.DOWN, colours.SOFT]
    for look, paper in itertools.product(shown, (colours.PAGE, colours.PANEL)):
        dim, bright = sorted(TO_XYZ[1] @ of(x) for x in (look, paper))
        assert (bright + .05) / (dim + .05) > 4.5, look
    for (a, x), (b, y) in itertools.combinations(methods.items(), 2):
        for who, eye in SEEN.items():
            far = np.linalg.norm(lab(eye @ of(x)) - lab(eye @ of(y)))
            assert far > (8 if {a, b} == {"graded", "sampled"} else 16), (a, b, who)
    assert len({look.mark for look in methods.values()}) == len(methods)


def test_every_method_has_a_colour():
    assert all(colours.look(name).light for name in OBJECTIVES)
    assert not colours.look("ift released").dashed and colours.look("ift").dashed


# ---- pictures ------------------------------------------------------------------------------------
def written(folder, objective: str, before: dict, after: dict, log: list[dict], **about) -> None:
    """The files of a run."""
    write_json(folder / "run.json", {"objective": objective, "hp": {}, **about})
    write_json(folder / "eval.json", {"before": before, "after": after})
    write_jsonl(folder / "metrics.jsonl", log)


@pytest.mark.parametrize("objective, figure", [("sft", "nll"), ("dpo", "accuracy"), ("ift", "nll")])
def test_held_out_rows_have_a_panel_of_their_own(objective, figure, tmp_path, monkeypatch):
    """A loss may have another unit. The titles tell rows and passes."""
    drawn = []
    monkeypatch.setattr(plots, "save", lambda fig, file: drawn.append(fig) or file)
    log = [{"step": n, "loss": 0.1, "grad_norm": 1} for n in range(1, 9)]
    log.insert(4, {"step": 4, "held_out": {figure: 0.7}})
    before, after = ({"held_out": {figure: x, "rows": 4}} for x in (0.5, 0.75))
    written(tmp_path, objective, before, after, log, passes=2.0)
    plots.draw_curves(tmp_path)
    axes = drawn[0].axes
    assert len(axes) == 2
    assert axes[0].get_title("left").startswith(
        f"{objective.upper()}: {figure} of 4 held-out rows 0.50 → 0.75")
    assert "2 passes" in axes[-1].get_title("left")
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
    assert plots.finding(right) == "IFT (released) pushes <|end|> down (−0.90), SFT up (+1.00)"
    hyphen = [("sft", "answer", ["-"], [1.0]), ("dpo", "answer", ["-"], [-0.5])]
    assert plots.finding(hyphen) == "DPO pushes - down (−0.50), SFT up (+1.00)"


# ---- the pictures of docs/ -----------------------------------------------------------------------
DOCS = methods_page.ROOT / "docs"


def figures(file) -> dict:
    return json.loads(Image.open(file).info["figures"])


def same(kept, now) -> bool:
    """The same texts and numbers, up to what rounding on another CPU may change."""
    if isinstance(kept, dict):
        return kept.keys() == now.keys() and all(same(kept[key], now[key]) for key in kept)
    if isinstance(kept, list):
        return len(kept) == len(now) and all(map(same, kept, now))
    return kept == now if isinstance(kept, str) else kept == pytest.approx(now, abs=0.021)


def test_the_pictures_of_the_results_show_the_kept_scores(tmp_path):
    for file in pictures.write_all(tmp_path):
        assert same(figures(DOCS / "results" / file.name), figures(file)), file.name


@pytest.mark.slow
def test_the_picture_of_the_pushes_shows_what_a_trained_model_gets(tmp_path):
    """From IFT's run, as docs/methods.md says."""
    subprocess.run([sys.executable, "-m", "nanouft.train", "--objective", "ift", "--items", "1",
                    "--out", tmp_path / "ift"], check=True, capture_output=True)
    assert pushes.main(["--init", str(tmp_path / "ift"), "--out", str(tmp_path / "p.png")]) == 0
    kept, now = (figures(file)["texts"] for file in (DOCS / "pushes.png", tmp_path / "p.png"))
    assert [bare(x) for x in kept] == [bare(x) for x in now]


def bare(text: str) -> str:
    """A text with its numbers to one place: rounding on another CPU changes the second."""
    return re.sub(r"\d+\.\d+", lambda x: f"{float(x[0]):.0f}", text)


@pytest.mark.parametrize("picture", ["playground", "lake"])
def test_the_picture_of_a_page_shows_the_page_of_today(picture, made, browser, tmp_path):
    """Every text of the picture is on the page, after the same press."""
    pressed = {"playground": "#step-4", "lake": "#bet button:nth-child(2)"}[picture]
    if picture == "lake":
        file = write_page(lake.WEB, lake.page_data(make_lake("twoway5")), tmp_path)
    else:
        file = made[1]
    page, _ = opened(browser, file, 1280, 4000)
    page.click(pressed)
    kept, now = figures(DOCS / f"{picture}.png"), words(page)
    assert len(kept) > 30 and set(kept) <= set(now), [x for x in kept if x not in now]


# ---- the playground: what is recorded ------------------------------------------------------------
FEW = ("sft", "ift", "dpo", "grpo")
RATES = ["3e-5", "1e-4", "2.5e-4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(what the page reads, of a few methods; the page)."""
    data = record(FEW)
    return data, write_page(WEB, data, tmp_path_factory.mktemp("playground"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same of all methods, at every rate: about a minute of computing."""
    data = record(also=pages.EXTRAS)
    return data, write_page(WEB, data, tmp_path_factory.mktemp("whole"))


def stops(data, name: str, rate: str, step: int = 4) -> int:
    """How many answers of a frame have <|end|> as their first mark."""
    rate = data["methods"][name]["own"] if rate == "own" else rate
    said, _, _ = data["methods"][name]["runs"][rate][step]
    marks = (re.search(r"<\|\w+\|>", data["texts"][text]) for text in said)
    return sum(mark is not None and mark[0] == "<|end|>" for mark in marks)


def test_at_one_rate_sft_and_dpo_differ_and_released_ift_stops_at_none(made):
    """What README, the first page and the verdict tell; nothing stops before the first step."""
    data, _ = made
    assert [stops(data, "sft", rate) for rate in RATES] == [2, 8, 8]
    assert [stops(data, "dpo", rate) for rate in RATES] == [0, 2, 7]
    assert [stops(data, "ift-released", rate) for rate in RATES] == [0, 0, 0]
    assert not any(stops(data, name, rate, 0) for name, x in data["methods"].items()
                   for rate in x["runs"])


def test_an_answer_that_does_not_stop_asks_the_next_question(made):
    """So nothing is cut off: README and the page say that the model goes on asking itself."""
    marks = [re.search(r"<\|\w+\|>", text) for text in made[0]["texts"]]
    assert {mark and mark[0] for mark in marks} == {"<|end|>", "<|user|>"}


def test_two_rates_never_share_a_name():
    assert [rate_text(x) for x in (3e-5, 1e-4, 1.04e-4, 2.5e-4, 1e-3)] == [
        "3e-5", "1e-4", "1.04e-4", "2.5e-4", "1e-3"]


@pytest.mark.slow
def test_every_method_is_on_the_page_and_the_page_is_small(whole):
    data, file = whole
    assert [name for name in data["methods"] if name != "ift-released"] == [*OBJECTIVES, "ts_dpo"]
    assert "def linear_logits(" in data["methods"]["ts_dpo"]["code"]
    assert all((methods_page.ROOT / x["file"]).is_file() for x in data["methods"].values())
    assert all(len(frames) == 5 for x in data["methods"].values() for frames in x["runs"].values())
    assert all({*RATES, x["own"]} == set(x["runs"]) for x in data["methods"].values())
    assert all(x["equation"] and x["idea"] and "def " in x["code"] and x["mark"]
               for x in data["methods"].values())
    assert all(colours.FAMILIES[x["family"]].light == colours.look(name.partition("-")[0]).light
               for name, x in data["methods"].items())
    for name in ("loss", "dpo_loss", "log_ratio"):
        assert f"def {name}(" in data["methods"]["dpo"]["code"]
    assert file.stat().st_size < 400_000


@pytest.mark.slow
def test_only_one_loss_gets_at_no_rate_more_than_half_of_the_answers(whole):
    data, _ = whole
    assert [name for name in data["methods"]
            if all(stops(data, name, rate) <= 4 for rate in RATES)] == ["ift-released"]


def test_the_scores_of_the_page_are_current():
    there = methods_page.SCORES.read_text(encoding="utf-8")
    assert there == methods_page.scores_text(), "run python -m lessons methods"


def test_the_record_of_dpo_is_that_of_its_equation(made):
    """After the last step: the push on each token is ± beta sigmoid(-margin) N, against the model
    before the first step; the chance is a plain mean over the questions."""
    (base, tok), dpo = start_model("base"), OBJECTIVES["dpo"]()
    *_, model = taught(dpo, base, tok)
    rows = lists("val", QUESTIONS)

    @torch.no_grad()
    def logp(net, prompt, answer) -> torch.Tensor:
        """(tokens of the answer,)"""
        ids, counts = map(torch.tensor, tok.chat(prompt, answer))
        every = net(ids[None, :-1])[0].log_softmax(-1)
        return every[range(len(every)), ids[1:]][counts[1:] > 0]
    shown = rows[0]
    ours, first = ([logp(net, shown.prompt, x) for x in (shown.chosen, shown.rejected)]
                   for net in (model, base))
    ratios = [a.sum() - b.sum() for a, b in zip(ours, first)]
    push = dpo.beta * torch.sigmoid(-dpo.beta * (ratios[0] - ratios[1])) * len(ours[0])
    _, chance, told = made[0]["methods"]["dpo"]["runs"][rate_text(dpo.lr)][-1]
    for side, sign, of in zip(told, (1, -1), ours, strict=True):
        assert side == pytest.approx([sign * float(push)] * len(of), abs=6e-4)
    ends = [float(logp(model, row.prompt, row.chosen)[-1].exp()) for row in rows]
    assert chance == pytest.approx(sum(ends) / 8, abs=6e-4)


def test_a_method_of_your_own_is_on_the_page(tmp_path, browser):
    """With its pushes, its code, and what the head of its file says; "not measured"."""
    head = "    L = -1/2 mean log p_t\n    arXiv:1234.56789\n"
    data = record(("sft",), (2.5e-4,), also=[own_method(tmp_path / "mine.py", "Mine", head)])
    _, _, (push,) = data["methods"]["mine"]["runs"]["2.5e-4"][0]
    assert push == pytest.approx([0.5] * len(push), abs=1e-3)
    page, faults = at(browser, write_page(WEB, data, tmp_path), "#right=mine&step=4")
    page.click("summary")
    said = page.inner_text("#losses > div:last-child")
    assert "0.5 * nll(batch)" in said and "Half of SFT." in said
    assert "L = -1/2 mean log p_t" in said and "arXiv:1234.56789" in said
    assert "after a whole run: not measured." in said
    assert page.get_attribute("#map-mine", "aria-label").endswith("not scored") and not faults


def own_method(file, name: str, head: str) -> str:
    """Half of SFT's loss, as a file."""
    file.write_text(f'''"""{name}: half of SFT.

{head}"""
from nanouft.objective import Objective
from nanouft.objectives.sft import nll


class Mine(Objective):
    def loss(self, batch):
        return 0.5 * nll(batch), {{}}


Mine.__name__ = {name!r}
''', encoding="utf-8")
    return str(file)


def test_names_of_a_class_and_of_a_file_are_text_on_the_page(tmp_path, browser):
    """Whatever they hold: no markup, no script, and every entry can be chosen."""
    evil = "<img src=x onerror=\"document.title='run'\">&amp;\""
    file = own_method(tmp_path / f"{evil}.py".replace("/", ""), evil, "Nothing more.\n")
    data = record(("sft",), (2.5e-4,), also=[file])
    page, faults = opened(browser, write_page(WEB, data, tmp_path))
    assert evil in page.inner_text("[data-bet=right]")
    page.click("[data-bet=right]")
    assert f"You bet on {evil}" in page.inner_text("#verdict")
    page.click("summary")
    page.select_option("#left", evil)
    assert state(page)["left"] == evil and evil in page.inner_text("#losses h2")
    assert f"See the head of {evil}" in (said := page.inner_text("#losses")) and "arXiv" not in said
    assert evil in page.text_content("#map") and page.locator("img").count() == 0
    assert page.title().startswith("Which loss") and not faults


def test_a_method_of_your_own_has_a_file():
    with pytest.raises(UserError, match="--also sft: give FILE.py"):
        record(("sft",), also=["sft"])


# ---- the playground: what a visitor sees ---------------------------------------------------------
ONE_SIDE = {"left": "sft", "right": "dpo", "rate": "1e-4", "step": "0", "answers": "short"}


def state(page) -> dict[str, str]:
    return page.evaluate("state()")


def told(page, where: str = "verdict") -> str:
    """The verdict, or another part of the page, in one line."""
    return " ".join(page.inner_text(f"#{where}").split())


def at(browser, file, address: str = "", **look):
    """The page at an address such as "#step=4"."""
    page, faults = opened(browser, file, **look)
    page.goto(file.resolve().as_uri() + address)
    page.reload()
    faults[:] = [x for x in faults if not x.startswith("file:")]
    return page, faults


@pytest.mark.parametrize("wait", [0, 1500, 5500])
def test_teach_reaches_the_last_step_whenever_it_is_pressed_after_a_bet(wait, made, browser):
    """A bet begins the steps; the button begins them again, and never stops them."""
    page, faults = opened(browser, made[1], calm=False)
    assert page.locator("[data-bet]").count() == 4 and not page.is_visible("#map")
    page.clock.install()
    page.click("[data-bet=left]")
    page.clock.run_for(wait)
    page.click("#teach")
    page.clock.run_for(6000)
    assert state(page) == ONE_SIDE | {"step": "4"}
    assert "You bet on SFT: right." in told(page) and page.locator("[data-bet]").count() == 0
    assert page.is_visible("#map") and not faults


def test_each_bet_is_answered_at_its_own_rate_only(made, browser):
    words = {"left": "SFT: right", "right": "DPO: not so", "both": "both: not so",
             "neither": "neither: not so"}
    for who, answer in words.items():
        page, faults = opened(browser, made[1])
        page.click(f"[data-bet={who}]")
        assert f"You bet on {answer}." in told(page)
        assert page.evaluate("document.activeElement.id") == "teach"
        assert "eight of eight answers stop with SFT and two with DPO" in told(page)
        page.click("#rate-3e-5")
        assert "You bet" not in told(page) and "At 3e-5, two of eight" in told(page)
        page.click("#rate-1e-4")
        assert "You bet" in told(page) and not faults
        page.close()


def test_controls_used_while_the_steps_run(made, browser):
    """A rate or a loss goes on with the run, a step ends it, and Back leads to its beginning."""
    page, faults = opened(browser, made[1], calm=False)
    page.clock.install()
    page.click("#teach")
    page.clock.run_for(2200)
    page.click("#rate-2\\.5e-4")
    page.select_option("#right", "grpo")
    assert state(page)["step"] in "12"
    page.clock.run_for(4500)
    assert state(page) == ONE_SIDE | {"right": "grpo", "rate": "2.5e-4", "step": "4"}
    page.click("#teach")
    page.clock.run_for(1500)
    page.click("#step-2")
    page.clock.run_for(6000)
    assert state(page)["step"] == "2"
    page.click("#teach")
    page.clock.run_for(6000)
    page.go_back()
    page.wait_for_function("state().step === '0'")
    assert page.is_checked("#step-0") and "no answer stops" in told(page)
    page.go_forward()
    page.wait_for_function("state().step === '4'")
    assert not faults


def test_the_step_that_a_run_shows_can_be_held(made, browser):
    """A click on the step that is chosen already changes nothing but ends the run."""
    page, _ = opened(browser, made[1], calm=False)
    page.clock.install()
    page.click("#teach")
    while state(page)["step"] < "2":
        page.clock.run_for(100)
    page.click("#step-2")
    page.clock.run_for(6000)
    assert state(page)["step"] == "2"


def test_the_address_is_the_state(made, browser):
    """A link opens a state, Back leads to the one before, and a broken address to the first."""
    page, faults = at(browser, made[1], "#left=sft&right=dpo&rate=2.5e-4&step=4")
    assert "At 2.5e-4, eight of eight answers stop with SFT and seven with DPO." in told(page)
    assert page.is_checked("#rate-2\\.5e-4") and page.is_checked("#step-4")
    page.click("#rate-own")
    assert "Two things differ here" in told(page, "why")
    assert "SFT (2.5e-4)" in told(page) and "DPO (3e-5)" in told(page)
    page.select_option("#left", "ift-released")
    page.go_back()
    page.wait_for_function("state().left === 'sft'")
    assert page.input_value("#left") == "sft" and state(page)["rate"] == "own"
    page.go_back()
    page.wait_for_function("state().rate === '2.5e-4'")
    for broken in ("#left=zzz&rate=7&step=9", "#%%%", "#left=__proto__", "#step=",
                   "#left=sft&left=dpo"):
        page.goto(made[1].resolve().as_uri() + broken)
        assert state(page) == ONE_SIDE, broken
    assert not faults


def test_a_loss_that_no_rate_helps_is_one_click_away(made, browser):
    """At every rate; and the cause of a difference is told only where the rate is one."""
    page, faults = at(browser, made[1], "#step=4")
    assert "pushes work against each other" in told(page, "why")
    page.click("#rate-2\\.5e-4")             # one answer of eight is no story
    assert "pushes" not in told(page, "why")
    page.click("#never [data-method=ift-released]")
    assert state(page)["right"] == "ift-released"
    assert page.evaluate("document.activeElement.id") == "right"
    assert "and none with IFT as released" in told(page)
    assert "IFT as released doesn’t get past half" in told(page, "never")
    page.click("#rate-own")
    assert "pushes" not in told(page, "why") and not faults


def test_a_score_that_was_compared_with_nothing_says_so(made, browser):
    """On the map and beside the equation; one that a question compared names its run."""
    data, file = made
    assert not made[0]["methods"]["grpo"]["scores"].get("from the base model")
    page, _ = at(browser, file, "#right=grpo&step=4")
    page.click("summary")
    left, right = (" ".join(x.split()) for x in page.locator("#losses > div").all_inner_texts())
    mean, half, _ = data["methods"]["grpo"]["scores"]["after SFT"]
    assert f"after SFT {mean:.1f} ± {half:.1f}, compared with nothing" in right
    assert "compared with nothing" not in left and "(run C13)" in left
    assert page.get_attribute("#map-grpo", "aria-label").startswith(
        f"GRPO: {stops(data, 'grpo', '1e-4')} of 8 stop, compared with nothing")


def test_the_scores_of_all_methods_on_own_samples_were_compared_with_nothing():
    """What the page says of them. A run that compares one of them has to change the words."""
    scores = json.loads(methods_page.SCORES.read_text(encoding="utf-8"))
    free = {name for name, told in scores.items()
            if whole_runs.EXPLORATORY in [source for *_, source in told.values()]}
    assert free == {name for name in scores if colours.family(name) == "sampled"}


def test_as_many_ends_are_shown_as_are_counted(made, browser):
    """Of every loss at every rate and step, here and there; and nothing is undefined."""
    data, file = made
    page, faults = opened(browser, file)
    drawn = page.evaluate("""() => { asks = false; const out = [];
        for (const left of ALL) for (const rate of VALUES.rate) for (const step of VALUES.step)
          for (const right of ["sft", "dpo", left]) {
            history.replaceState("", "", "#" + new URLSearchParams({left, right, rate, step}));
            draw();
            const text = $("verdict").textContent + $("losses").textContent.slice(0, 300)
              + $("map").innerHTML + $("leftCount").textContent;
            out.push([left, rate, +step, /undefined|NaN|Infinity/.test(text),
              stops(left, rate, step), document.querySelectorAll("[id^=left] .end").length]); }
        return out; }""")
    for name, rate, step, bad, counted, shown in drawn:
        assert not bad and counted == shown == stops(data, name, rate, step), (name, rate, step)
    assert not faults and len(drawn) == 5 * 4 * 5 * 3


def fits(browser, made, widths: tuple[int, ...]) -> None:
    """With all folds open nothing scrolls sideways, no <|end|> is cut, no name covers another."""
    for address in ("#step=4", "#left=ift-released&right=grpo&rate=own&step=4"):
        page, faults = at(browser, made[1], address)
        page.evaluate("document.querySelectorAll('details').forEach((x) => { x.open = true; })")
        for width in widths:
            page.set_viewport_size({"width": width, "height": 800})
            page.wait_for_function("$('map').getAttribute('viewBox').includes("
                                   "` ${$('map').clientWidth} `)")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            assert page.locator(".answer:not(:has(> i)) .said").evaluate_all(
                "(all) => all.every((x) => x.scrollWidth <= x.clientWidth + 1)"), width
            boxes = page.locator("#map [data-method] text:last-child").evaluate_all(
                "(all) => all.map((x) => x.getBoundingClientRect()).map((b) => "
                "[b.x, b.y, b.width, b.height])")
            for (ax, ay, aw, ah), (bx, by, bw, bh) in itertools.combinations(boxes, 2):
                apart = ax + aw < bx + 1 or bx + bw < ax + 1 or abs(ay - by) > min(ah, bh) - 5
                assert apart, f"two names cover each other at {width} pixels"
        assert not faults


def test_nothing_scrolls_sideways_and_no_end_is_cut(made, browser):
    fits(browser, made, (320, 390, 700, 900, 1280))


@pytest.mark.slow
def test_nothing_scrolls_sideways_with_all_methods(whole, browser):
    fits(browser, whole, (320, 390, 700, 768, 900, 1024, 1280, 1920, 2560))


def test_the_map_by_hand_and_by_keyboard(made, browser):
    """A loss of the map goes to the side that was changed last; labels tell stops and score."""
    data, file = made
    page, faults = at(browser, file, "#step=4")
    page.locator("#map-ift text").last.click()
    assert state(page)["right"] == "ift" and page.evaluate("document.activeElement.id") == "right"
    page.select_option("#left", "ift")
    for key, name in (("Enter", "grpo"), ("Space", "dpo")):
        page.locator(f"#map-{name}").focus()
        page.keyboard.press(key)
        assert state(page)["left"] == name and state(page)["right"] == "ift"
        assert page.get_attribute(f"#map-{name}", "tabindex") == "0"
        assert page.get_attribute(f"#map-{name}", "aria-pressed") == "true"
    mean, half, _ = data["methods"]["sft"]["scores"]["from the base model"]
    assert page.get_attribute("#map-sft", "aria-label") == (
        f"SFT: 8 of 8 stop, score {mean:.1f} ± {half:.1f}")
    page.focus("#rate-1e-4")
    for rate in ("2.5e-4", "own"):
        page.keyboard.press("ArrowRight")
        assert state(page)["rate"] == rate
    page.focus("#step-0")
    page.keyboard.press("ArrowRight")
    assert state(page)["step"] == "1"
    page.focus("#whole")
    page.keyboard.press("Space")
    assert page.locator(".said").first.evaluate("(x) => getComputedStyle(x).whiteSpace") == "normal"
    assert state(page)["answers"] == "whole" and not faults


def test_arrow_keys_walk_all_losses_of_the_map(made, browser):
    """Each once and round; Tab leaves the map."""
    page, faults = at(browser, made[1], "#step=4")
    page.focus("#map-dpo")
    walked = []
    for _ in made[0]["methods"]:
        page.keyboard.press("ArrowRight")
        walked.append(page.evaluate("document.activeElement.dataset.method"))
    assert sorted(walked) == sorted(made[0]["methods"]) and walked[-1] == "dpo"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY" and not faults


def test_a_bet_by_keyboard_alone(made, browser):
    """Tab reaches every control, in the order of the page; nothing plays before a key."""
    page, faults = opened(browser, made[1])

    def walk(n: int) -> list[str]:
        out = []
        for _ in range(n):
            page.keyboard.press("Tab")
            out.append(page.evaluate("""() => { const x = document.activeElement;
                return x.dataset.bet || x.id || x.dataset.method || x.tagName.toLowerCase(); }"""))
        return out
    controls = ["teach", "rate-1e-4", "step-0", "whole", "left", "right"]
    folds = ["summary"] * 3
    assert walk(13) == ["left", "right", "both", "neither", *controls, *folds]
    page.focus("[data-bet=neither]")
    page.keyboard.press("Enter")
    assert state(page)["step"] == "4" and "You bet on neither: not so." in told(page)
    assert walk(10) == [*controls[1:2], "step-4", *controls[3:], "ift-released", "map-dpo", *folds]
    assert not faults


# ---- the playground: every control in every order ------------------------------------------------
CONTROLS = ["[data-bet=right]", "#teach", "#rate-3e-5", "#rate-own", "#step-2", "#step-4", "#whole",
            "#left = ift-released", "#right = grpo", "#map-ift text >> nth=1", "#never button",
            "summary", "back", "forward", "phone"]


def use(page, control: str) -> None:
    """What a visitor does; nothing, where there is no such control at the moment."""
    selector, _, value = control.partition(" = ")
    if value:
        page.select_option(selector, value)
    elif control in ("back", "forward"):
        page.go_back() if control == "back" else page.go_forward()
        if not page.url.startswith("file:"):            # left the page
            page.go_forward()
        page.wait_for_timeout(40)
    elif control == "phone":
        page.set_viewport_size({"width": 390 if page.viewport_size["width"] > 390 else 1280,
                                "height": 800})
    elif page.locator(selector).first.is_visible():
        page.locator(selector).first.click()


def agrees(page, data) -> None:
    """Controls, address and answers show one state; the counts are those of the record."""
    now = state(page)
    assert page.input_value("#left") == now["left"] and page.input_value("#right") == now["right"]
    assert page.is_checked("#rate-" + now["rate"].replace(".", "\\."))
    assert page.is_checked(f"#step-{now['step']}")
    assert page.is_checked("#whole") == (now["answers"] == "whole")
    for side in ("left", "right"):
        n = stops(data, now[side], now["rate"], int(now["step"]))
        assert page.inner_text(f"#{side}Count").startswith(f"{n} of 8 stop"), now
        assert page.locator(f"[id^={side}] .end").count() == n, now


@pytest.mark.slow
def test_every_two_controls_in_both_orders(made, browser):
    data, file = made
    for one in CONTROLS:
        page, faults = opened(browser, file)
        for other in CONTROLS:
            for control in (one, other):
                use(page, control)
                agrees(page, data)
        assert all(x.startswith("file:") for x in faults), one       # the page itself, after "back"
        page.close()


# ---- the strip -----------------------------------------------------------------------------------
def test_the_strip_of_frames_shows_the_steps_of_today(tmp_path):
    """As `python -m lessons.website.steps_picture docs/steps.svg` writes it, and nothing else;
    small and without motion."""
    file = tmp_path / "s.svg"
    assert steps_picture.main([str(file)]) == 0
    kept = (DOCS / "steps.svg").read_text(encoding="utf-8")
    assert file.read_text(encoding="utf-8") == kept
    dots = re.findall('class="dots[^>]*>(.*?)<', kept)
    assert [x.count("●") for x in dots] == [0, 1, 3, 8, 8, 0, 0, 1, 2, 2]
    assert "2.5e-4 these stop after the last step: SFT 8 of 8, DPO 7 of 8</text>" in kept
    assert len(kept) < 10_000 and not re.search("animat|script|href", kept)
