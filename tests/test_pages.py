"""The colours of methods; the pictures of a run; the playground in a browser."""
import csv
import itertools
import json
import random
import re
import time
from copy import deepcopy

import numpy as np
import pytest
import torch
from browser import opened
from made import write_jsonl
from PIL import Image

from lessons import methods, pages
from lessons.evidence import claim as claim_entry
from lessons.evidence import claims, whole_runs
from lessons.evidence.claims import CLAIMS
from nanouft import pushes
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.pictures import colours, plots
from nanouft.pictures.page import write_page
from nanouft.playground.record import (
    GAMMAS,
    LAMS,
    LONGEST,
    QUESTIONS,
    WEB,
    lists,
    record,
    source_of,
    taught,
)
from nanouft.plumbing.disk import write_json
from nanouft.plumbing.errors import UserError
from nanouft.run.pushes import token_pushes

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
    assert pushes.finding(right) == "IFT (released) pushes <|end|> down (−0.90), SFT up (+1.00)"
    hyphen = [("sft", "answer", ["-"], [1.0]), ("dpo", "answer", ["-"], [-0.5])]
    assert pushes.finding(hyphen) == "DPO pushes - down (−0.50), SFT up (+1.00)"


# ---- the playground: what is recorded ------------------------------------------------------------
FEW = ("sft", "ift", "dpo", "uft", "grpo")


@pytest.fixture(scope="module", params=[FEW, pytest.param((), marks=pytest.mark.slow)],
                ids=["five methods", "all methods"])
def made(request, tmp_path_factory):
    """(what the page reads, of these methods, with few settings of IFT; the page)."""
    data = record(request.param, (0.2,), (0.95, 0), pages.EXTRAS)
    return data, write_page(WEB, data, tmp_path_factory.mktemp("playground"))


def defaults(data, name: str) -> dict:
    """The run of a method with its default settings."""
    return next(run for key, run in data["runs"].items() if key.split()[0] == name)


def test_every_method_is_on_the_page_and_the_page_is_small(made):
    data, file = made
    recorded = [name for name in OBJECTIVES if name in FEW or len(data["methods"]) > len(FEW) + 1]
    assert sorted(data["methods"]) == sorted([*recorded, "ts_dpo"])
    assert {key.split()[0] for key in data["runs"]} == set(data["methods"])
    assert "def linear_logits(" in data["methods"]["ts_dpo"]["code"]
    assert all((methods.ROOT / x["file"]).is_file() for x in data["methods"].values())
    assert all(len(run["frames"]) == 5 for run in data["runs"].values())
    assert all(x["equations"] and x["idea"] and "def " in x["code"] and x["mark"]
               for x in data["methods"].values())
    assert all(colours.FAMILIES[x["family"]].light == colours.look(name).light
               for name, x in data["methods"].items())
    for name in ("loss", "dpo_loss", "log_ratio"):
        assert f"def {name}(" in data["methods"]["dpo"]["code"]
    one = len(json.dumps(data["runs"]["ift detached 0.2 0.95"]))
    every = len(LAMS) * len(GAMMAS) * 2 - 4                     # settings that are not made here
    assert file.stat().st_size + every * one < 400_000
    assert all(frames[0]["stops"] == 0 for run in data["runs"].values()
               for frames in [run["frames"]])


def test_an_exploratory_score_on_the_page_is_the_mean_of_five_seeds(made):
    """With the interval of Student's t: 2.776 standard errors for five seeds."""
    with whole_runs.TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    told = {(name, start): score for name, x in made[0]["methods"].items()
            for start, score in x["scores"].items() if score[2] == whole_runs.EXPLORATORY}
    assert ("grpo", "after SFT") in told
    for (name, start), (mean, half, _) in told.items():
        recipe = f"sft->{name}" if start == "after SFT" else name
        x = [100 * np.mean([float(row[kind]) for kind in whole_runs.FAMILIES]) for row in rows
             if row["method"] == recipe]
        assert mean == pytest.approx(np.mean(x), abs=0.051), recipe
        assert half == pytest.approx(2.7764 * np.std(x, ddof=1) / len(x) ** 0.5, abs=0.051), recipe


def planted(claim: str, rows: dict[str, float]) -> dict[str, np.ndarray]:
    """Scores of a claim as they are kept: so many points of 100 for each row on the shipped base,
    ten less on the other; half of the seeds five points more, half five less."""
    means = np.array(list(rows.values()))[:, None, None, None, None]
    bases, seeds = (np.array(x) for x in ([0, -10], [-5, -5, 5, 5]))
    scores = means + bases[:, None, None, None] + seeds[:, None, None] + np.zeros((9, 40))
    commands = [[CLAIMS[claim].command(row, base) for base in (0, 1)] for row in rows]
    return {"scores": np.round(2.4 * scores), "commands": np.array(commands),
            "groups": np.arange(360).reshape(9, 40)}


def test_scores_of_the_questions_take_the_place_of_exploratory_ones(tmp_path, monkeypatch):
    """What a question leaves out has its exploratory score, and is called so."""
    best = [{"claim": claim, "row": row, "base": base, "setting": setting, "score": "0.5"}
            for claim in ("C13", "C14") for row, tried in CLAIMS[claim].tries.items()
            for base in ("base", "base-1") for setting in tried]
    monkeypatch.setattr(claim_entry, "read_tries", lambda: best)
    for name, points in (("C13", {"sft": 75, "dpo": 50}),
                         ("C14", {"sft": 70, "sft, sft": 80, "sft, dpo": 60})):
        np.savez_compressed(tmp_path / f"{name}.npz",
                            **planted(name, dict.fromkeys(CLAIMS[name].rows, 40) | points))
    monkeypatch.setattr(claims, "RESULTS", tmp_path)
    now = whole_runs.scores()
    half = round(3.1824 * np.std([-5, -5, 5, 5], ddof=1) / 2, 1)        # Student's t
    base, later = "from the base model", "after SFT"
    assert now["sft"] == {base: (75, half, "C13"), later: (80, half, "C14")}
    assert now["dpo"] == {base: (50, half, "C13"), later: (60, half, "C14")}
    assert now["ipo"] == {base: (40, half, "C13"), later: (40, half, "C14")}
    assert now["grpo"] == {later: whole_runs.in_table()["sft->grpo"]}
    assert now["grpo"][later][2] == "exploratory"


def test_the_scores_of_the_page_are_current():
    there = methods.SCORES.read_text(encoding="utf-8")
    assert there == methods.scores_text(), "run python -m lessons.methods"


def test_numbers_on_the_page_are_computed_again(made):
    """Three methods at random: taught by a loop of four lines, pushed by the pushes, decoded word
    by word without a cache."""
    seed = time.time_ns() % 10_000
    can = [name for name, cls in OBJECTIVES.items()
           if name in made[0]["methods"] and cls.first_models is None and not cls().on_policy]
    names = random.Random(seed).sample(can, 3)
    print(f"seed {seed}: {names}")
    base, tok = start_model("base")
    rows = lists("val", QUESTIONS)
    shown = next(row for row in rows if row.prompt[-1].text == made[0]["question"])
    for name in names:
        objective, model = OBJECTIVES[name](), deepcopy(base)
        objective.setup(model, 0)
        optimizer = torch.optim.AdamW(model.parameters(), objective.lr, (0.9, 0.95),
                                      weight_decay=0)
        source = source_of(objective, model, base, tok)
        for step in range(4):
            batch = source(step)
            objective.forward(model, batch)
            optimizer.zero_grad()
            objective.loss(batch)[0].backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        frame, run = defaults(made[0], name)["frames"][-1], defaults(made[0], name)
        strips = token_pushes(objective, shown, model, tok, reference=base)
        assert [which for which, _ in run["answers"]] == [which for which, _, _ in strips], (
            seed, name)
        for mine, (_, _, push) in zip(frame["push"], strips, strict=True):
            assert mine == pytest.approx(push, rel=2e-3, abs=2e-3), (seed, name)
        answers = [greedy(model, tok, row) for row in rows]
        stops = sum(ids[-1] == tok.end and tok.user not in ids for ids, _ in answers)
        close = sum(gap < 0.02 for _, gap in answers)
        assert abs(frame["stops"] - stops) <= close, (seed, name)
        answer, gap = answers[rows.index(shown)]
        text = [tok.decode([i]) for i in answer]
        said = frame["said"][:-1] if frame["said"][-1] == "…" else frame["said"]
        assert said == text[:len(said)] or gap < 0.02, (seed, name)


@torch.no_grad()
def greedy(model, tok, row) -> tuple[list[int], float]:
    """The likeliest answer, one whole forward for each token; and by how many nats the likeliest
    token leads the next one where it leads least: within .02 rounding may decide."""
    ids, least = [*tok.prompt_ids(row.prompt)], torch.inf
    begun = len(ids)
    while len(ids) < begun + LONGEST and tok.end not in ids[begun:]:
        logits = model(torch.tensor([ids]))[0, -1]
        first, second = logits.topk(2).values.tolist()
        least = min(least, first - second)
        ids.append(int(logits.argmax()))
    return ids[begun:], least


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
    frame = defaults(made[0], "dpo")["frames"][-1]
    for side, sign, of in zip(frame["push"], (1, -1), ours, strict=True):
        assert side == pytest.approx([sign * float(push)] * len(of), abs=2e-4)
    ends = [float(logp(model, row.prompt, row.chosen)[-1].exp()) for row in rows]
    assert frame["chance"] == pytest.approx(sum(ends) / 8, abs=2e-4)


@pytest.mark.parametrize("head, told", [
    ("    L = -1/2 mean log p_t\n    arXiv:1234.56789\n", "L = -1/2 mean log p_t"),
    ("Nothing more.\n", "no line “L = ...” stands at the head of mine.py")])
def test_a_method_of_your_own_is_on_the_page(head, told, tmp_path, browser):
    """With its pushes, its code, and what the head of its file says; "not measured yet"."""
    file = tmp_path / "mine.py"
    file.write_text(f'''"""Mine: half of SFT.

{head}"""
from nanouft.objective import Objective
from nanouft.objectives.sft import nll


class Mine(Objective):
    def loss(self, batch):
        return 0.5 * nll(batch), {{}}
''', encoding="utf-8")
    data = record(("sft",), also=[str(file)])
    push = data["runs"]["mine"]["frames"][0]["push"][0]
    assert push == pytest.approx([0.5] * len(push), abs=1e-4)
    page, faults = opened(browser, write_page(WEB, data, tmp_path))
    assert "0.5 * nll(batch)" in page.text_content("#right pre")
    said = page.inner_text("#right")
    assert "Half of SFT." in said and told in said and "Not measured yet." in said
    assert ("arXiv:1234.56789" in said) == ("arXiv" in head)
    assert page.locator("#unmeasured [data-method=mine]").count() == 1 and not faults


def test_a_method_of_your_own_has_a_file():
    with pytest.raises(UserError, match="--also sft: give FILE.py"):
        record(("sft",), also=["sft"])


# ---- the playground: what a visitor sees ---------------------------------------------------------
def after(page, step: int) -> None:
    page.wait_for_function(f"document.querySelector('#number').textContent === '{step}'")


def focused(page) -> str:
    """What has the focus: its id, its bet, or its method."""
    return page.evaluate("""(() => { const x = document.activeElement;
        return x.id || x.dataset.bet || x.dataset.method || x.dataset.repair || x.tagName; })()""")


def tab_to(page, name: str) -> None:
    """Press Tab until this has the focus."""
    for _ in range(200):
        page.keyboard.press("Tab")
        if focused(page) == name:
            return
    raise AssertionError(f"Tab does not reach {name}")


def test_a_bet_on_two_methods_by_keyboard_alone(made, browser):
    """Nothing plays before a key is pressed; every control can be reached and used."""
    data, file = made
    page, faults = opened(browser, file, calm=False)
    time.sleep(1)
    assert page.inner_text("#number") == "0" and page.inner_text("#verdict") == ""
    assert page.inner_text("h1") == "SFT or DPO: which of them learns to stop, and why?"
    assert "After step" not in page.inner_text("main")                  # nothing tells the answer
    tab_to(page, "left")                                                # the bet "SFT"
    page.keyboard.press("Enter")
    after(page, 4)                                                      # about 3 s
    stops = [defaults(data, name)["frames"][-1]["stops"] for name in ("sft", "dpo")]
    assert stops == [8, 0]
    assert "8 of 8 answers stop with SFT and 0 with DPO." in page.inner_text("h1")
    assert page.inner_text("#verdict").startswith("You bet “SFT”. That is right")
    tab_to(page, "step")
    page.keyboard.press("Home")
    after(page, 0)
    tab_to(page, "rightMethod")
    for _ in OBJECTIVES:                                                # up and down a list
        page.keyboard.press("ArrowUp")
    while page.input_value("#rightMethod") != "ift":
        page.keyboard.press("ArrowDown")
    assert "lam" in page.inner_text("#rightDials") and page.inner_text("#verdict") == ""
    values = page.locator("#rightDials select").evaluate_all("(all) => all.map((x) => x.value)")
    ift = OBJECTIVES["ift"]()
    assert values == [ift.variant, str(ift.lam), str(ift.gamma)]        # as the method has them
    assert focused(page) == "rightMethod"
    page.keyboard.press("Tab")                                          # its first setting
    page.keyboard.press("ArrowDown")
    tab_to(page, "right")                                               # the repair
    assert data["line"] in page.inner_text("#right")
    page.keyboard.press("Enter")
    assert page.input_value("#rightDials select >> nth=0") == "detached"
    tab_to(page, "uft")                                                 # a point of the map
    page.keyboard.press("Enter")
    assert page.input_value("#rightMethod") == "uft" and focused(page) == "rightMethod"
    tab_to(page, "grpo")                                                # beside the map
    page.keyboard.press("Enter")
    assert page.input_value("#rightMethod") == "grpo"
    tab_to(page, "SUMMARY")
    page.keyboard.press("Enter")
    assert page.locator("#left details[open]").count() == 1
    tab_to(page, "play")
    page.keyboard.press("Enter")
    after(page, 4)
    assert focused(page) == "play" and not faults


def test_the_map_has_a_point_for_each_score_and_a_button_for_every_other_method(made, browser):
    data, file = made
    for width, dark in ((1280, False), (390, True)):
        page, faults = opened(browser, file, width=width, dark=dark)
        points = page.locator("#map .point").evaluate_all(
            "(all) => all.map((x) => [x.dataset.method, x.getAttribute('aria-label')])")
        for name, label in points:
            mean, half, source = data["methods"][name]["scores"]["from the base model"]
            stops = defaults(data, name)["frames"][-1]["stops"]
            assert f"{stops} of 8 answers" in " ".join(label.split())
            told = f"score {mean:.1f} ± {half:.1f} after a whole run, {source};"
            assert told in " ".join(label.split())
        others = page.locator("[id=afterSft] button, [id=unmeasured] button").evaluate_all(
            "(all) => all.map((x) => x.dataset.method)")
        assert sorted([*(name for name, _ in points), *others]) == sorted(data["methods"])
        boxes = page.locator("#map .point text:last-child").evaluate_all(
            "(all) => all.map((x) => x.getBBox()).map((b) => [b.x, b.y, b.width, b.height])")
        for (ax, ay, aw, ah), (bx, by, bw, bh) in itertools.combinations(boxes, 2):
            apart = ax + aw < bx + 2 or bx + bw < ax + 2 or abs(ay - by) > min(ah, bh) - 5
            assert apart, f"two names cover each other at {width} pixels"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not faults


def test_sentence_and_bars_are_of_one_step_and_no_bar_is_cut(made, browser):
    """Each bar is as high as the logarithm of its number says, by one scale, and lies within its
    box; on a narrow page, by the settings that were chosen."""
    data, file = made
    page, faults = opened(browser, file, width=390, dark=True)
    tops = [page.locator(f"#{side}Head .stops").bounding_box()["y"] for side in ("left", "right")]
    assert tops[0] == tops[1] < 700                                     # side by side
    heights = """[...document.querySelectorAll(".bar")].map((bar) => {
        const [box, i] = [bar, bar.querySelector("i")].map((e) => e.getBoundingClientRect());
        const x = Number(bar.innerText.replace("−", "-"));
        return [x, i.height, i.top >= box.top && i.bottom <= box.bottom]; })"""
    left = data["runs"]["sft"]["frames"]
    for name, run in data["runs"].items():
        method, *chosen = name.split()
        page.select_option("#rightMethod", method)
        for k, value in enumerate(chosen):
            page.select_option(f"#rightDials select >> nth={k}", value)
        for step in (0, 4):
            frame = run["frames"][step]
            page.fill("#step", str(step))
            end = re.search(r"pushes <\|end\|> by (\S+) in", page.inner_text("#right"))
            told = float(end[1].replace("−", "-"))
            assert told == pytest.approx(frame["push"][0][-1], abs=0.0051), f"{name}, step {step}"
            assert f"{frame['stops']} of 8 stop" in page.inner_text("#rightHead")
            numbers, high, inside = map(np.array, zip(*page.evaluate(heights)))
            pushes = sum([*left[step]["push"], *frame["push"]], [])
            assert numbers == pytest.approx(pushes, abs=0.0051), f"{name}, step {step}"
            far = np.abs(high - 16 * 1.9 * np.log2(1 + np.abs(pushes)))
            assert far.max() < 0.5 and inside.all(), f"{name}, step {step}"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and not faults
