"""lessons/papers/extras: the equation of a loss is the loss of its code, and what TS-DPO, POVID and
the table of recipes promise."""
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from equation_parser import value
from made import CPU, NANO, Form, batch_of, killed_in_step, learn, logits, nano, same, start_folder

from lessons.papers.extras import ingredient_substitution, povid, ts_dpo
from lessons.papers.extras.ts_dpo import TSDPO, linear_logits, weights_of
from nanouft import train
from nanouft.batch import write_logp
from nanouft.playground.docstrings import equations, method_docstring
from nanouft.run.reference import FrozenModels


# ---- TS-DPO --------------------------------------------------------------------------------------
def test_the_equation_of_ts_dpo_is_the_loss_of_the_code():
    line, = equations("ts_dpo", method_docstring(TSDPO))
    r_w, r_l = torch.linspace(-3, 3, 10).double().view(2, 5)
    given = {"beta": torch.tensor(0.7, dtype=torch.double), "r_w": r_w, "r_l": r_l}
    ours = TSDPO(beta=0.7).each(0.7 * r_w, 0.7 * r_l, None)
    same(value(line.loss, given.__getitem__), ours, 1e-9)


def test_the_logits_of_the_linear_model_are_the_tangent_of_the_networks():
    """By a central difference; and the changes of two directions add up."""
    model, inputs, at = nano().double(), torch.arange(12).view(2, 6), torch.arange(12)
    start, rng = weights_of(model), torch.Generator().manual_seed(0)
    one, two = ({name: torch.randn(p.shape, generator=rng, dtype=p.dtype)
                 for name, p in start.items()} for _ in range(2))
    both, moving = {name: one[name] + two[name] for name in start}, copy.deepcopy(model)

    def moved(size: float) -> torch.Tensor:
        weights = {name: start[name] + size * one[name] for name in start}
        with torch.no_grad():
            for name, p in moving.named_parameters():
                p.copy_(weights[name])
            return logits(moving, inputs).view(12, -1)

    def change(direction: dict) -> torch.Tensor:
        return (linear_logits(model, start, direction, inputs, at) - moved(0)).detach()
    same(change(one), (moved(1e-6) - moved(-1e-6)) / 2e-6, 1e-6)
    same(change(both), change(one) + change(two), 1e-9)


def test_the_first_step_of_ts_dpo_is_that_of_dpo():
    form, model, objective = Form("dpo"), nano().double(), TSDPO()
    batch = batch_of(form)
    with torch.no_grad():
        write_logp(model, batch)
    for s in batch.seqs.values():
        s.ref_logp = s.logp.clone()                             # of the start
    loss, want = learn(form, model, [batch])
    same(loss, torch.tensor(2.0).double().log(), 1e-12)
    FrozenModels(model, NANO.pad, CPU).prepare([], objective)
    form.objective = objective
    again, got = learn(form, model, [batch])
    same(again, loss, 1e-12)
    same(got, want, 1e-9)


def test_a_run_of_ts_dpo_goes_on_from_its_start_and_not_from_the_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start_folder(Path("start"))
    line = ["--objective", ts_dpo.__file__, *"--init start --rows 8 --steps 3 --batch-size 4 "
            "--plain --save-every 1 --out".split()]
    train.main([*line, "whole"])
    with killed_in_step(2), pytest.raises(KeyboardInterrupt):
        train.main([*line, "broken"])
    train.main(["--resume", "broken", "--objective", ts_dpo.__file__])
    whole, broken = (Path(name, "model.safetensors").read_bytes() for name in ("whole", "broken"))
    assert whole == broken


# ---- POVID ---------------------------------------------------------------------------------------
def pictures(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return povid.cut(povid.draw(rng, povid.choose_objects(rng, 5, usual=0.5))).double()


def test_behind_a_projection_of_zeros_no_answer_depends_on_the_picture():
    model, chosen = povid.SeeingGPT(0).double(), povid.sequences(
        torch.arange(30).view(5, 6) % len(povid.WORDS))
    one, two = (model.logp(pictures(seed), chosen) for seed in (1, 2))
    assert (one - two).abs().max() > 0.01
    torch.nn.init.zeros_(model.look.weight)
    same(*(model.logp(pictures(seed), chosen) for seed in (1, 2)))
    assert model.answer(pictures(1)).equal(model.answer(pictures(2)))


def test_the_equation_of_povid_is_the_loss_of_the_code():
    """The log-ratios are computed from logits, with the clear picture for every answer."""
    line, = equations("povid", povid.__doc__)
    model, start, seed = povid.SeeingGPT(0), povid.SeeingGPT(1), [3, 4]
    loss = povid.povid(model, start, np.random.default_rng(seed), "planted + noised")

    rng = np.random.default_rng(seed)
    objects = povid.choose_objects(rng, povid.ROWS, usual=0.5)
    clear = povid.draw(rng, objects)
    chosen, planted = povid.sequences(povid.describe(objects)), povid.planted(rng, objects)
    dim = povid.KEPT**0.5 * clear + (1 - povid.KEPT)**0.5 * rng.standard_normal(clear.shape)
    noised = povid.noised(model, povid.cut(dim), chosen)
    assert (noised.targets != chosen.targets).any()

    def log_ratio(s) -> torch.Tensor:
        nats = []
        for network in (model, start):
            z = network.head(network(embeds=network.embed(povid.cut(clear), s.inputs)))
            each = -F.cross_entropy(z.mT, s.targets, reduction="none")
            nats.append((each * s.mask).sum(-1))
        return nats[0] - nats[1]
    given = {"beta": torch.tensor(povid.BETA), "r_w": log_ratio(chosen),
             "r_planted": log_ratio(planted), "r_noised": log_ratio(noised)}
    same(value(line.loss, given.__getitem__).mean().detach(), loss.detach(), 1e-5)


def test_a_planted_object_is_the_companion_if_the_picture_lacks_it_and_is_never_in_the_picture():
    rng = np.random.default_rng(0)
    objects = povid.choose_objects(rng, 500, usual=0.5)
    right, wrong = povid.describe(objects), povid.planted(rng, objects).targets[:, -6:]
    assert right[:, :3].equal(wrong[:, :3])
    assert (right[:, 3:5] != wrong[:, 3:5]).any(1).all()
    lacks = torch.from_numpy(objects[:, 1] != povid.companion(objects[:, 0]))
    usual = np.stack([objects[:, 0], povid.companion(objects[:, 0])], 1)
    assert wrong[lacks].equal(povid.describe(usual)[lacks]) and lacks.any() and not lacks.all()


# ---- recipes -------------------------------------------------------------------------------------
def test_held_out_dishes_are_new_and_a_rejected_substitute_is_right_elsewhere():
    files = ingredient_substitution.make_rows()
    old = {row["prompt"].partition(".")[0] for row in files["sft.jsonl"]}
    assert old.isdisjoint(row["prompt"].partition(".")[0] for row in files["new.jsonl"])
    assert len(files["new.jsonl"]) == 48, "as its docstring says"
    for row in files["pairs.jsonl"]:
        options = ingredient_substitution.SUBSTITUTES[row["prompt"].rpartition(" ")[2].rstrip("?")]
        assert {row["chosen"], row["rejected"]} < {*options} and row["chosen"] != row["rejected"]


def test_a_hit_is_the_first_answer_and_nothing_but_the_substitute():
    said = ["Oat milk.", "oat milk\nor yoghurt", "Use oat milk", "yoghurt", ""]
    assert ingredient_substitution.hit(said, ["oat milk"] * 5) == [1, 1, 0, 0, 0]
