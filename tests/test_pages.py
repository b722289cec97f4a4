"""The colours of methods; the pictures of a run; the playground in a browser."""
import itertools
import re
import time

import numpy as np
import pytest
import torch
from browser import opened
from made import write_jsonl
from PIL import Image

from nanouft import ledger
from nanouft.disk import write_json
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.pictures import colours, plots
from nanouft.pictures.page import write_page
from nanouft.playground.__main__ import QUESTIONS, WEB, lists, record, taught

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
FAMILY = {"score": 0.2, "low": 0.1, "high": 0.3, "strict": 0, "ends": 0}


def written(folder, objective: str, before: dict, after: dict, log: list[dict], **about) -> None:
    """The files of a run."""
    write_json(folder / "run.json", {"objective": objective, "hp": {}, **about})
    write_json(folder / "eval.json", {"before": before, "after": after})
    write_jsonl(folder / "metrics.jsonl", log)


@pytest.mark.parametrize("name, scored, more", [
    ("ift", {"families": {"sum": FAMILY, "list": FAMILY}}, {}), ("ift", {}, {}),
    ("grpo", {"families": {"sum": FAMILY}}, {"reward": 0.5})])
def test_curves_of_a_run(name, scored, more, tmp_path):
    log = [{"step": n, "loss": 1 / n, "grad_norm": 1, **more} for n in range(1, 9)]
    written(tmp_path, name, scored, scored, log)
    assert Image.open(plots.curves(tmp_path)).width == 1080


@pytest.mark.parametrize("objective, figure, panels", [("sft", "nll", 1), ("dpo", "accuracy", 2),
                                                       ("ift", "nll", 2), ("uft", "nll", 2)])
def test_held_out_rows_stand_beside_a_loss_of_their_unit_only(objective, figure, panels, tmp_path,
                                                              monkeypatch):
    """Else they have a panel of their own. The titles tell rows and passes."""
    drawn = []
    monkeypatch.setattr(plots, "save", lambda fig, file: drawn.append(fig) or file)
    log = [{"step": n, "loss": 0.1, "grad_norm": 1} for n in range(1, 9)]
    log.insert(4, {"step": 4, "held_out": {figure: 0.7}})
    before, after = ({"held_out": {figure: x, "rows": 4}} for x in (0.5, 0.75))
    written(tmp_path, objective, before, after, log, passes=2.0)
    plots.curves(tmp_path)
    axes = drawn[0].axes
    assert len(axes) == panels
    assert axes[0].get_title("left").startswith(
        f"{objective.upper()}: {figure} of 4 held-out rows 0.50 → 0.75")
    assert "2 passes" in axes[-1].get_title("left")
    told = [line for line in axes[0].lines if line.get_marker() == "s"]
    assert len(told) == 1 and told[0].get_xydata().tolist() == [[0, .5], [4, .7], [8, .75]]
    assert axes[0].get_ylim()[1] > 0.75 and bool(axes[0].get_legend()) == (panels == 1)


def test_the_pushes_on_a_long_answer_take_several_rows(tmp_path, monkeypatch, capsys):
    """In the picture and in the terminal, of at most 80 columns; a long token is cut."""
    drawn: list = []
    monkeypatch.setattr(plots, "save", lambda fig, file: drawn.append(fig) or file)
    long = " ".join(["Sort pig bee saw."] * 3)
    assert ledger.main(["--show", "ift", "--prompt", "a", "--answer", long, "--out",
                        str(tmp_path / "p.png")]) == 0
    out = capsys.readouterr().out
    said = [x for x in out.split() if re.fullmatch(r"[+-]\d\.\d\d", x)]
    texts = [t for t in drawn[0].axes[0].texts if t.get_text()[0] in "+−"]
    assert [t.get_text().replace("−", "-") for t in texts] == said and len(said) == 16
    assert max(map(len, out.splitlines()[2:-1])) <= 80
    assert all(plots.LEFT < t.get_position()[0] < plots.WIDTH for t in texts)
    assert [plots.token_name(t) for t in (" fern", "\n", " photosynthesises", "<|im_end|>")] == [
        "fern", "'\\n'", "photosynt…", "<|im_end|>"]


def test_the_ledger_shows_four_methods_and_says_what_it_found(tmp_path, capsys):
    file = tmp_path / "new" / "pushes.png"
    assert ledger.main(["--out", str(file)]) == 0 and Image.open(file).width == 1080
    shown = capsys.readouterr().out
    assert [line for line in shown.splitlines() if line.endswith((": answer", ": chosen"))] == [
        "sft: answer", "ift: answer", "ift --variant released: answer", "dpo: chosen"]
    right = [("sft", "answer", ["<|end|>"], [1.0]),
             ("ift --variant released", "answer", ["<|end|>"], [-0.9])]
    assert ledger.finding(right) == "IFT (released) pushes <|end|> down (−0.90), SFT up (+1.00)"


# ---- the playground: what a visitor sees ---------------------------------------------------------
@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(what the page reads, with two values of each setting, the page)."""
    data = record((0.2, 1), (0, 0.95))
    return data, write_page(WEB, data, tmp_path_factory.mktemp("playground"))


def after(page, step: int) -> None:
    page.wait_for_function(f"document.querySelector('#number').textContent === '{step}'")


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
    shown = next(row for row in rows if row.prompt[-1].text == made[0]["question"])
    ours, first = ([logp(net, shown.prompt, x) for x in (shown.chosen, shown.rejected)]
                   for net in (model, base))
    ratios = [a.sum() - b.sum() for a, b in zip(ours, first)]
    push = dpo.beta * torch.sigmoid(-dpo.beta * (ratios[0] - ratios[1])) * len(ours[0])
    frame = made[0]["runs"]["dpo"][-1]
    for side, sign, of in zip(frame["push"], (1, -1), ours, strict=True):
        assert side == pytest.approx([sign * float(push)] * len(of), abs=2e-4)
    ends = [float(logp(model, row.prompt, row.chosen)[-1].exp()) for row in rows]
    assert frame["chance"] == pytest.approx(sum(ends) / 8, abs=2e-4)


def test_the_record_plays_only_when_pressed(made, browser):
    data, file = made
    stops = [[frame["stops"] for frame in frames] for frames in data["runs"].values()]
    assert all(counts[0] == 0 for counts in stops)
    assert [data["runs"][name][-1]["stops"] for name in (
        "sft", "dpo", "released 0.2 0.95", "detached 0.2 0.95")] == [8, 6, 0, 8]
    page, faults = opened(browser, file, calm=False)
    time.sleep(1)
    assert page.inner_text("#number") == "0"
    assert "which model learns to stop?" in page.inner_text("h1")
    page.click("#play")
    after(page, 4)
    assert "8 of 8 answers stop with SFT and 0 with IFT as released." in page.inner_text("h1")
    assert "0 of 8 stop" in page.inner_text("#rightHead")
    time.sleep(1)
    assert page.input_value("#method") == "released"                    # it waits
    page.click("#play")
    after(page, 0)
    after(page, 4)
    assert page.evaluate("document.activeElement.id") == "play"         # the focus stays
    assert "8 of 8 answers stop with SFT and 8 with IFT detached." in page.inner_text("h1")
    page.fill("#step", "0")
    assert "0 of 8 stop" in page.inner_text("#leftHead")
    assert not faults


def test_sentence_and_bars_are_of_one_step_and_no_bar_is_cut(made, browser):
    """Each bar is as high as its number says, by one scale, and lies within its box; on a narrow
    page, by the settings that were chosen."""
    data, file = made
    page, faults = opened(browser, file, width=390, dark=True)
    tops = [page.locator(f"#{side}Head .stops").bounding_box()["y"] for side in ("left", "right")]
    assert tops[0] == tops[1] < 500                                     # side by side
    highest = max(x for frames in data["runs"].values() for f in frames for x in sum(f["push"], []))
    heights = """[...document.querySelectorAll(".bar")].map((bar) => {
        const [box, i] = [bar, bar.querySelector("i")].map((e) => e.getBoundingClientRect());
        const x = Number(bar.innerText.replace("−", "-"));
        return [x, i.height, i.top >= box.top && i.bottom <= box.bottom]; })"""
    for name, frames in data["runs"].items():
        method, *settings = name.split()
        if method == "sft":
            continue
        page.select_option("#method", method)
        for id, value in zip(("lam", "gamma"), settings):
            page.select_option(f"#{id}", value)
        for step, frame in enumerate(frames):
            page.fill("#step", str(step))
            ends = [f"by {push[-1]:+.2f}".replace("-", "−") for push in frame["push"]]
            assert all(end in page.inner_text("#why") for end in ends), f"{name}, step {step}"
            title = page.inner_text("h1")
            assert not step or f"and {frame['stops']} with" in title
            chosen = bool(step) and bool(settings) and settings != ["0.2", "0.95"]
            assert ("(lam {}, gamma {})".format(*settings) in title if chosen else "(" not in title)
            numbers, high, inside = zip(*page.evaluate(heights))
            pushes = sum([*data["runs"]["sft"][step]["push"], *frame["push"]], [])
            assert numbers == pytest.approx(pushes, abs=0.0051), f"{name}, step {step}"
            far = np.abs(np.array(high) - 16 * 4.4 / highest * np.abs(numbers))
            assert far.max() < 0.5 and all(inside), f"{name}, step {step}"
    page.select_option("#method", "dpo")                                # has no such line
    assert page.is_hidden("#line") and page.is_hidden("#lam")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and not faults
