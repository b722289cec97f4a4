"""The colours of methods; the pictures of a run; the playground, beside torch and in a browser."""
import itertools
import json
import re
import time
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from browser import Browser
from made import write_jsonl
from PIL import Image

from nanouft import ledger
from nanouft.disk import write_json
from nanouft.gpt import GPT
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.pictures import colours, plots
from nanouft.playground import pack
from nanouft.playground.__main__ import ENGINE, WEB, page

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


# ---- the playground: the page beside torch -------------------------------------------------------
@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The page; its start model and one that has moved on, in torch."""
    folder, (base, tok) = tmp_path_factory.mktemp("playground"), start_model("base")
    data = pack.content()
    policy = moved(base)
    (folder / "index.html").write_text(page(data), encoding="utf-8")
    engine = "\n".join((WEB / name).read_text(encoding="utf-8") for name in ENGINE[:2])
    (folder / "engine.html").write_text(f"""<!doctype html><script>const DATA = {json.dumps(data)};
        {engine}
        function policy() {{
          const model = new Model(DATA);
          model.flat.forEach((x, i) => {{ model.flat[i] = x + 0.02 * Math.cos(i); }});
          return model;
        }}</script>""", encoding="utf-8")
    return SimpleNamespace(folder=folder, data=data, base=base, policy=policy, tok=tok)


def moved(base: GPT) -> GPT:
    """`base` with 0.02 cos(i) added to its i-th weight."""
    model, at = deepcopy(base), 0
    for p in model.parameters():
        i = torch.arange(at, at + p.numel(), dtype=torch.float64)
        p.data = (p.data.double() + 0.02 * i.cos().view(p.shape)).float()
        at += p.numel()
    return model


@pytest.fixture(scope="module")
def browser(made, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile"), 600) as b:
        yield b


def test_a_push_is_pythons_at_each_end_of_each_slider(made, browser):
    views = [("sft", {}), ("dpo", {"beta": .1}), ("dpo", {"beta": 1})] + [
        ("ift", {"variant": variant, "lam": lam, "gamma": gamma})
        for variant in ("detached", "released")
        for lam, gamma in ((.2, .95), (0, .95), (1, .95), (.2, 0), (.2, 1))]
    question = made.data["questions"][0]
    browser.open(made.folder / "engine.html")
    found = browser.js(f"""(() => {{ const row = {json.dumps(question)}, model = policy();
        return {json.dumps(views)}.map(([name, dials]) => model.look(row, name, dials));
    }})()""")
    row = next(row for row in pack.lists("val", pack.QUESTIONS)
               if row.prompt[-1].text == question["text"])
    for (name, dials), theirs in zip(views, found, strict=True):
        ours = ledger.entries(OBJECTIVES[name](**dials), row, made.policy, made.tok,
                              reference=made.base)
        largest = max(abs(x) for _, _, weights in ours for x in weights)
        assert largest > 0, name
        for (which, _, want), push in zip(ours, theirs, strict=True):
            off = np.abs(np.subtract(push, want)).max() / largest
            assert off < 1e-3, f"{name} {dials}, {which}: {push}, Python: {want}"


# ---- the playground: what a visitor sees ---------------------------------------------------------
DECIDED = "document.querySelector('#number').textContent === '4'"
LEFT, RIGHT = "#story article:nth-child(1)", "#story article:nth-child(2)"
CHECKED = "/✓|✗/.test(document.querySelector('#check').textContent)"


def controls(browser):
    return browser.js("""[...document.querySelectorAll("button, select, input, summary")]
        .filter((e) => !e.closest("details:not([open]) > :not(summary)")).length""")


def test_the_record_plays_only_when_pressed(made, browser):
    stops = {key: [f["stops"] for f in x["frames"]] for key, x in made.data["record"].items()}
    assert [stops[key][-1] for key in ("sft", "released", "detached", "dpo")] == [8, 0, 8, 6]
    browser.errors.clear()
    browser.open(made.folder / "index.html", calm=False)
    time.sleep(1)
    assert controls(browser) == 5 and browser.text("#number") == "0"
    assert "which model learns to stop?" in browser.text("h1")
    browser.click("#play")
    browser.wait(DECIDED)                                               # about 3 s
    assert "8 of 8 answers stop with SFT and 0 with IFT as released" in browser.text("h1")
    assert browser.text(f"{RIGHT} .stops") == "0 of 8 stop"
    time.sleep(1)
    assert browser.js("choice.value") == "released"                     # it waits
    browser.click("#play")
    browser.wait(f"choice.value === 'detached' && {DECIDED}")
    assert browser.js("document.activeElement.id") == "play"            # the focus stays
    assert "8 of 8 answers stop with SFT and 8 with IFT detached" in browser.text("h1")
    browser.choose("#step", "0")
    assert browser.text(f"{LEFT} .stops") == "0 of 8 stop"
    assert not browser.errors and not browser.requests


def test_sentence_and_bars_are_of_one_step_and_no_bar_is_cut(made, browser):
    """Each bar is as high as its number says, by one scale, and lies within its box."""
    browser.open(made.folder / "index.html", width=390)
    heights = """[...document.querySelectorAll("#story .bar")].map((bar) => {
        const [box, i] = [bar, bar.querySelector("i")].map((e) => e.getBoundingClientRect());
        const x = Number(bar.innerText.replace("−", "-"));
        return [x, i.height, i.top >= box.top && i.bottom <= box.bottom]; })"""
    for method, step in itertools.product(("released", "detached", "dpo"), range(5)):
        browser.choose(f"{RIGHT} select", method)
        browser.choose("#step", str(step))
        frame = made.data["record"][method]["frames"][step]
        assert f"{frame['push'][0][-1]:+.2f}".replace("-", "−") in browser.text("#why")
        assert not step or f"and {frame['stops']} with" in browser.text("h1")
        numbers, high, inside = zip(*browser.js(heights))
        near = np.abs(np.array(high) - 16 * 4.4 / 2.52 * np.abs(numbers))
        assert near.max() < 0.5 and all(inside), f"{method}, step {step}"
    assert browser.js("$('line').hidden")                               # DPO has no such line


def test_the_check_turns_red_where_the_record_is_wrong(made, browser):
    wrong = deepcopy(made.data)
    first = wrong["record"]["sft"]["frames"][0]
    first["push"] = [[x + 2e-3 for x in first["push"][0]]]
    (made.folder / "wrong.html").write_text(page(wrong), encoding="utf-8")
    browser.open(made.folder / "wrong.html")
    browser.wait(CHECKED)
    assert browser.text("#check").startswith("✗")
    assert browser.js("$('check').classList.contains('wrong')")


def test_the_tab_agrees_with_python_and_teaches(made, browser):
    """On a record of one step, because a step takes seconds where others compute too."""
    short = deepcopy(made.data)
    for run in short["record"].values():
        del run["frames"][2:]
    (made.folder / "short.html").write_text(page(short), encoding="utf-8")
    browser.errors.clear()
    browser.open(made.folder / "short.html", width=390, height=844, dark=True)
    tops = [browser.js(f"document.querySelector('{side} .dots').getBoundingClientRect().top")
            for side in (LEFT, RIGHT)]
    assert tops[0] == tops[1] < 400                                     # side by side
    browser.wait(CHECKED)
    said = browser.text("#check")
    assert said.startswith("✓ computed again in this tab: the same, within ")
    assert float(said.split()[-1]) <= 1.1e-3

    browser.js("document.querySelector('#live summary').click()")
    browser.wait("document.querySelector('#own .bar')")                 # at once: step 0
    assert "+0.22" in browser.text("#own") and browser.text("#own .stops") == "0 of 8 stop"
    browser.choose("#variant", "released")
    browser.wait("$('own').textContent.includes('−0.27')")
    browser.choose("#variant", "detached")
    browser.js("$('teach').click()")
    stops = short["record"]["detached"]["frames"][1]["stops"]
    browser.wait(f"document.querySelector('#own .stops').textContent === '{stops} of 8 stop'")
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    assert not browser.errors and not browser.requests
