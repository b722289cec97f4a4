"""Rollouts and the methods that learn from them: laws of advantages, ratios and KLs, and the runs
of `train`."""
import math
from copy import deepcopy
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from running import DEMOS, QUICK, call, lines, metrics
from safetensors.torch import load_file
from tiny import CPU, NANO, TINY, same

from nanouft import sampling as rollouts
from nanouft import train, world
from nanouft.data.batches import Encoded, Tokens, encode
from nanouft.data.rows import Row, Turn
from nanouft.eval.plots import curves
from nanouft.gpt import GPT, GPTConfig
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.models.save import add_value_head
from nanouft.objective import Batch, Columns, Seqs
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.on_policy import k3, log_rho, step_metrics
from nanouft.objectives.ppo import gae, rewards
from nanouft.objectives.rloo import leave_one_out
from nanouft.reference import Models
from nanouft.run import setup
from nanouft.run.rows import Data
from nanouft.run.setup import Run
from nanouft.run.storage import read_json
from nanouft.sampling import Answer, Rollouts

pytestmark = pytest.mark.usefixtures("brief")
METHODS = [name for name, o in OBJECTIVES.items() if o.on_policy and o.rewarded]
SMALL = replace(TINY, vocab_size=NANO.n_vocab, n_ctx=128, init_std=0.1)


def source(name: str, start_seed: int = 0, **kw) -> rollouts.Rollouts:
    """A source of steps over NanoWorld prompts with a small random policy, eight prompts a step.
    Settings that the method does not have are left out."""
    o = OBJECTIVES[name]
    hp = o.hp(**{f.name: kw[f.name] for f in fields(o.hp) if f.name in kw})
    prompts, _ = encode(o.rows(world.rows("train", "prompts", 40, 0), None), NANO, SMALL.n_ctx - 13)
    cfg = train.Train(lr=1e-3, batch_size=8, max_new=12, show_every=0, seed=3,
                      reward=kw.get("reward", "exact"), accumulate=kw.get("accumulate", 1))
    policy = GPT(replace(SMALL, init_std=kw.get("init_std", SMALL.init_std)), seed=0)
    if o.value_head:
        add_value_head(policy, "base")
        torch.nn.init.normal_(policy.value.weight, 0, 0.1,
                              generator=torch.Generator().manual_seed(1))
    data, models = Data(NANO, prompts, [], [], [], ""), Models(policy, NANO.pad, CPU, start_model)
    others = models.of_columns(o, hp)
    made, _ = setup.rollouts(cfg, o, hp, data, policy, others, 40, CPU)
    if start_seed:
        made.start = GPT(SMALL, seed=start_seed)
    return made


def steps_of(made: rollouts.Rollouts, n: int) -> list[Batch]:
    """The first n batches, with the policy's log-probs in them; nothing is trained between."""
    out = [made(step) for step in range(n)]
    for batch in out:
        made.objective.forward(made.policy, batch, made.hp)
    return out


# ---- sampling ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [*METHODS, "distill"])
def test_the_ratio_is_one_before_the_first_update(name):
    """What decoding said of its tokens is what a second look says of them."""
    made = source(name, minibatches=2, teacher=["base"])
    for batch in steps_of(made, 2):
        for role, s in batch.seqs.items():
            same(
                s.sampled_logp,
                s.logp.detach(),
                f"{name}, {role}: old is log pi before any step",
                1e-5,
            )
            assert (s.mask.sum(-1) >= 1).all() and (s.sampled_logp[s.mask == 0] == 0).all()
        said = made.objective.loss(batch, made.hp)[1]
        assert said.get("clip_fraction", 0) == 0 and abs(said.get("kl_step", 0)) < 1e-8
        assert made.stats["decode_gap"] < 1e-5


SURROGATES = [{}, {"surrogate": "gspo"}, {"surrogate": "cispo"}]
ON_RATIOS = [("rloo", {}), ("ppo", {}), ("online_una", {"against": "rollout"}),
             *[("grpo", surrogate) for surrogate in SURROGATES]]


@pytest.mark.parametrize("pieces", [1, 4])
@pytest.mark.parametrize("name, setting", ON_RATIOS, ids=str)
def test_in_mixed_precision_the_ratio_is_to_the_policy_that_sampled(name, setting, pieces):
    """Exactly 1 before the policy moves, and afterwards what both policies say of the same piece.
    (Where decoding or other shapes of a batch give the old log-probs, GSPO's clip of 3e-4 is left
    at once.)"""
    made, sizes = source(name, minibatches=2, passes=2, accumulate=pieces, **setting), []
    made.device = Device("cpu", "bf16")
    policy, o, hp = made.policy, made.objective, made.hp

    def forward(model, batch, hp):
        sizes.append(len(batch.seqs["answer"].inputs))
        o.forward(model, batch, hp)

    def ratios(step: int, batch: Batch):
        """With `policy` as it is now; with the policy that sampled."""
        for piece in [batch.piece(i, pieces) for i in range(pieces)]:
            s = piece.seqs["answer"]
            with made.device.autocast():
                o.forward(sampler, piece, hp)
                old = s.logp.detach()
                o.forward(policy, piece, hp)
            want = (s.logp - old).masked_fill(s.mask == 0, 0)
            assert torch.equal(log_rho(s), want), f"LAW: {step}: pi over the policy that sampled"
            assert want.any() == (policy is not sampler and step > 0)
            if not want.any():
                assert o.loss(piece, hp)[1].get("clip_fraction", 0) == 0
    made.objective = replace(o, forward=forward)
    sampler, batches = policy, [made(step) for step in range(made.stride)]
    for step, batch in enumerate(batches):
        ratios(step, batch)
    sampler = deepcopy(policy)
    with torch.no_grad():
        for x in policy.parameters():
            x.mul_(1.1)
    for step, batch in enumerate(batches[1:], 1):
        ratios(step, batch)
    assert max(sizes) <= len(batches[0].seqs["answer"].inputs) / pieces, \
        "LAW: no pass over a step holds more than the step's own pieces"
    measured = rollouts.batch_of(*drawn_of(made, 0), NANO)
    now = rollouts.measure(measured, made.policy, made.start, made.device)["now"]
    assert (now - measured.seqs["answer"].sampled_logp).abs().max() > 1e-3, "or nothing is shown"


def drawn_of(made: rollouts.Rollouts, number: int) -> tuple[list, list]:
    drawn = made.draw([made.prompts[i] for i in made.plan[number]], number)
    return drawn.asked, drawn.answers


def test_in_mixed_precision_a_policy_is_no_nat_away_from_itself():
    """The penalty is paid on log-probs of one kind of forward; the start model is the policy."""
    made, seen = source("rloo"), []
    made.device = Device("cpu", "bf16")
    made.objective = replace(made.objective, credit=lambda batch, hp: seen.append(batch) or batch)
    made.collect(0)
    s = seen[0].seqs["answer"]
    same(s.sampled_logp, s.ref_logp, "LAW: the same forward for both", 1e-6)


def says(*ids: int, ended: bool = True) -> Answer:
    """An answer of these tokens; the k-th token (the mark of the end is the last) was sampled at -k
    nats."""
    return Answer(list(ids), ended, [-float(k + 1) for k in range(len(ids) + ended)],
                  NANO.end if ended else None)


def test_the_mark_of_the_end_is_an_answer_token_like_any_other():
    made = source("rloo")
    asked, answers = made.prompts[:3], [says(5, 6), says(7, 8, 9, ended=False), says()]
    s = rollouts.batch_of(asked, answers, NANO).seqs["answer"]
    for i, (e, a) in enumerate(zip(asked, answers)):
        said = a.ids + [NANO.end] * a.ended
        assert s.targets[i][s.mask[i] > 0].tolist() == said, \
            "LAW: <|end|> is trained on where it was said"
        whole = [*s.inputs[i, :1].tolist(), *s.targets[i][s.real[i] > 0].tolist()]
        assert whole == [*e.seqs["prompt"].ids, *said], "behind the whole prompt"
        same(
            s.sampled_logp[i][s.mask[i] > 0],
            a.logp,
            "each beside the log-prob with which it was sampled",
        )


def test_who_runs_on_has_not_stopped():
    made = source("rloo")
    answers = [says(5), says(5, ended=False), says(5, NANO.user, 6), says(NANO.assistant)]
    assert made.scored([made.prompts[0].row] * 4, ["x"] * 4, answers).ended.tolist() == [1, 0, 0, 0]


def test_samples_come_from_the_policy_itself():
    """At temperature 1 the mean of -log pi(token) is the entropy; at .9 or 1.1 it is not."""
    made = source("rloo", init_std=0.4)
    asked = made.prompts[:1] * 200
    batch = rollouts.batch_of(asked, made.sample([e.seqs["prompt"].ids.tolist() for e in asked], 0),
                              NANO)
    seen, on = rollouts.measure(batch, made.policy, made.start, CPU), batch.seqs["answer"].mask > 0
    gap = -batch.seqs["answer"].sampled_logp[on] - seen["entropy"][on]
    error = (gap.std() / math.sqrt(len(gap))).item()
    assert abs(gap.mean()) < 3 * error < 0.1, \
        f"LAW: no other policy answers; {gap.mean():.3f} +- {error:.3f} nats"


def test_a_rollout_is_a_function_of_its_number_and_the_weights(monkeypatch):
    a, b = source("rloo"), source("rloo")
    first, second, again = (x.seqs["answer"].inputs.tolist() for x in (a(0), a(1), b(1)))
    assert first != second == again
    monkeypatch.setattr(rollouts, "CHUNK", 2)
    asked, said = [[NANO.user, 5, NANO.assistant]] * 4, {}
    for number, seed in ((0, 3), (1, 3), (0, 4)):
        a.seed = seed
        answers = [x.ids for x in a.sample(asked, number)]
        said |= {(number, seed, k): answers[k:k + 2] for k in (0, 2)}
    assert all(x != y for i, x in said.items() for j, y in said.items() if i < j), \
        "LAW: each rollout, chunk and seed has random numbers of its own, even for the same prompts"


def test_every_prompt_is_used_once_a_pass_and_groups_stay_together():
    made = source("rloo", samples=4, minibatches=2, passes=3)
    assert made.stride == 6
    first, again = (made(step).seqs["answer"].inputs.tolist() for step in (0, 2))
    assert first != again, "each pass has an order of its own"
    made(0)
    made.batch.per_row.reward = torch.arange(64.0)  # each answer's place in the rollout
    for turn in range(3):
        mine = torch.cat([made(2 * turn + part).per_row.reward.view(8, 4) for part in range(2)])
        same(mine - mine[:, :1], torch.arange(4.0).expand(16, 4),
             "the answers to a prompt are neighbours")
        assert sorted(mine.flatten().tolist()) == list(range(64)), \
            "LAW: a pass uses every answer of the rollout once"


# ---- groups that tie -----------------------------------------------------------------------------
def made_scores(texts: list[str]) -> np.ndarray:
    """About half of the groups tie: a score of the answer's length, in three classes."""
    return np.array([len(text) // 12 for text in texts], float)


def with_ties(**kw) -> rollouts.Rollouts:
    made = source("grpo", samples=2, **kw)
    made.score = lambda rows, texts: made_scores(texts)
    return made


def test_the_share_of_tied_groups_by_hand():
    reward = torch.tensor([1.0, 1, 1, 0, 1, 1, 0, 0, 1, 0.5, 0.5, 0.4])
    assert rollouts.tied_groups(reward, 3).tolist() == [True, False, False, False]
    col = Columns(reward=reward, ended=torch.ones(12))
    assert rollouts.earned(col, 3)["ties"] == 0.25 and "ties" not in rollouts.earned(col, 1)
    made = with_ties()
    made(0)
    R = made.batch.per_row.reward.view(-1, 2)
    assert made.stats["ties"] == (R[:, 0] == R[:, 1]).double().mean() > 0
    assert "sampled" not in made.stats, "nothing is drawn twice"


def test_other_prompts_take_the_places_of_groups_that_tie():
    plain, made = with_ties(), with_ties(resample=2)
    shown = []
    for one in (plain, made):
        one.show = lambda source, number, rows, texts, col: shown.append((rows, texts, col))
        one(0)
    (rows, texts, col), (rows2, texts2, col2) = shown
    tied = rollouts.tied_groups(torch.from_numpy(made_scores(texts)), 2)
    assert 0 < tied.sum() < len(tied), "a test without both kinds tests nothing"
    for group, was_tied in enumerate(tied.tolist()):
        here = slice(2 * group, 2 * group + 2)
        if was_tied:
            assert rows2[here] != rows[here] and rows2[here][0] == rows2[here][1]
        else:
            assert (rows2[here], texts2[here]) == (rows[here], texts[here]), \
                "LAW: a group that differs keeps its place"
    assert len({id(row) for row in rows2}) == len(tied), "no prompt is asked twice"
    same(col2.reward, torch.from_numpy(made_scores(texts2)), "rewards are those of the answers",
         1e-6)
    first, final = plain.stats, made.stats
    assert all(first[k] == final[k] for k in ("reward", "ends", "ties", "score")), \
        "LAW: what is reported of rewards was not chosen"
    assert final["ties_left"] == rollouts.tied_groups(col2.reward, 2).double().mean() \
        < final["ties"] == tied.double().mean()
    assert final["sampled"] > len(plain.batch.seqs["answer"].mask) and \
        final["sampled"] > first["length"] * len(texts) - 1e-6, "what was thrown away was paid for"
    s = made.batch.seqs["answer"]
    for i, e in enumerate(made.batch.per_row.reward.tolist()):
        ids = s.targets[i][s.mask[i] > 0].tolist()
        assert NANO.decode(ids[:-1] if ids[-1] in NANO.stops else ids).strip() == texts2[i]
        assert e == col2.reward[i], "the batch holds these answers"
    again = with_ties(resample=2)
    again(0)
    assert again.batch.seqs["answer"].inputs.tolist() == s.inputs.tolist(), \
        "LAW: a rollout is a function of its number and the weights"


def test_drawing_again_ends(monkeypatch):
    """With the last round, with the last other prompt, or when nothing ties."""
    for n, score, rounds in ((3, 0.0, 4), (64, 0.0, 5), (5, None, 1)):
        made = source("grpo", samples=2, resample=n)
        asked = []
        real = made.draw
        monkeypatch.setattr(made, "draw", lambda prompts, *a: asked.append(prompts)
                            or real(prompts, *a))
        made.score = lambda rows, texts: (np.arange(len(texts)) % 2.0 if score is None
                                          else np.zeros(len(texts)))
        made(0)
        assert len(asked) == rounds, (n, len(asked))    # 40 prompts, eight a step
        assert made.stats["ties_left"] == (score is not None)


# ---- the ratio, and PPO's first step -------------------------------------------------------------
def one_token(logp: list, old: list, old_values: list | None = None, **seqs) -> Seqs:
    """Answers of one token each, with the log-probs of now and of then."""
    x = torch.tensor(logp, dtype=torch.float64)[:, None].requires_grad_(True)
    on = torch.ones(len(logp), 1)
    columns = {k: torch.tensor(v, dtype=torch.float64)[:, None]
               for k, v in {"sampled_logp": old, **seqs}.items()}
    extra = {} if old_values is None else {
        "old_values": torch.tensor(old_values, dtype=torch.float64)[:, None]}
    return Seqs(on.long(), on.long(), on, on, x, **columns, extra=extra)


def test_how_far_a_step_has_moved():
    said = step_metrics(Batch.of({"answer": one_token([math.log(2.0), 0.0], [0.0, 0.0])},
                                 Columns()), 0.2, 0.2)
    same(said["kl_step"], (2 - 1 - math.log(2)) / 2,
         "k3 of the step: rho - 1 - log rho, rho = now / then")


def test_ppo_by_hand():
    """Two answers of one token: log pi_old/pi_ref = .5 and -1, scores .6 and .1; the second does
    not stop."""
    o, col = OBJECTIVES["ppo"], Columns(reward=torch.tensor([0.6, 0.1]),
                                        ended=torch.tensor([1.0, 0.0]))
    batch = Batch.of({"answer": one_token([-1.5, -2.0], [-1.5, -2.0], ref_logp=[-2.0, -1.0],
                                          old_values=[0.0, 0.0])}, col)
    R = rewards(batch, o.hp(beta=0.1, end_penalty=2.0))[:, 0]
    same(R, [0.6 - 0.1 * 0.5, 0.1 - 2.0 + 0.1 * 1.0], "score - penalty - beta k1", 1e-6)
    s = batch.seqs["answer"]
    ones = torch.ones(2, 1, dtype=torch.float64)
    s.extra |= {"values": ones, "returns": ones}
    s.token_advantage = 0 * ones
    # held within `clip` of the old word, 0, the error is 1 - clip
    for clip, error in ((0.4, 0.6), (5.0, 0.0)):
        same(o.loss(batch, o.hp(eps=0.1, eps_value=clip, vf=3.0))[0].detach(), 3 * error ** 2 / 2,
             "its own clip")


def test_what_the_critic_must_learn_reaches_the_shared_states():
    made = source("ppo")
    batch = steps_of(made, 1)[0]
    batch.seqs["answer"].logp = batch.seqs["answer"].logp.detach()
    made.objective.loss(batch, made.hp)[0].backward()
    assert made.policy.h[0].mlp.c_fc.weight.grad.norm() > 0 \
        and made.policy.value.weight.grad.norm() > 0


# ---- advantages ----------------------------------------------------------------------------------
def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_baselines_and_spread_are_of_rewards_after_the_leash():
    n, hp = 8, dict(samples=4, beta=0.5)
    s = one_token([-1.0] * n, [-1.0] * n, ref_logp=(-1 - random(n)).tolist())
    col = Columns(reward=random(n, seed=1))
    R = col.reward - 0.5 * random(n)
    def adv(name, **kw):
        o = OBJECTIVES[name]
        return o.credit(
            Batch.of({"answer": s}, replace(col)), o.hp(**hp, **kw)
        ).per_row.advantage.detach()
    same(adv("reinforce"), R - R.mean(), "REINFORCE: minus the mean of the same rewards", 1e-6)
    same(adv("reinforce", baseline="none"), R, "or 0", 1e-6)
    same(adv("rloo"), leave_one_out(R.view(2, 4)).flatten(), "RLOO: minus the others'", 1e-6)
    groups = col.reward.view(2, 4)
    same(adv("grpo", scale="none"), (groups - groups.mean(-1, keepdim=True)).flatten(),
         "--scale none: centred", 1e-6)


def test_the_start_model_stays_where_it_was():
    made = source("rloo")
    made(0)
    before = [p.clone() for p in made.start.parameters()]
    with torch.no_grad():
        for p in made.policy.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    made(1)
    assert all(torch.equal(a, b) for a, b in zip(before, made.start.parameters())), \
        "LAW: only the policy is trained"
    assert made.stats["kl_exact"] > 1e-4, "and the way from there is seen"


def test_after_the_end_of_an_answer_nothing_is_to_come():
    R, V = random(4, 6), random(4, 6, seed=1)
    mask = torch.tensor([[1] * n + [0] * (6 - n) for n in (6, 4, 1, 3)])
    adv = gae(R, V, mask, 0.9, 0.5)
    for i, n in enumerate(mask.sum(-1).tolist()):
        alone = gae(R[i:i + 1, :n], V[i:i + 1, :n], mask[i:i + 1, :n], 0.9, 0.5)[0]
        same(adv[i], [*alone.tolist(), *[0.0] * (6 - n)],
             "padding changes no advantage and has none")


def test_reward_is_paid_once_and_an_answer_without_end_pays():
    made = source("ppo", start_seed=5, beta=0.0, lam=1.0, end_penalty=2.0)
    made(0)
    s, col = made.batch.seqs["answer"], made.batch.per_row
    wanted = (col.reward - 2.0 * (1 - col.ended))[:, None].expand(s.mask.shape)
    same(s.extra["returns"][s.mask > 0], wanted[s.mask > 0],
         "no leash, gamma and lam 1: what is still to come is the score, at every token", 1e-5)
    assert set(col.ended.tolist()) == {0.0, 1.0}, "a test without both kinds tests nothing"


# ---- the estimator -------------------------------------------------------------------------------
@pytest.mark.parametrize("x, value, slope",
                         [(19, math.exp(19) - 20, math.exp(19) - 1), (20.1, math.exp(20) - 21, 0),
                          (40, math.exp(20) - 21, 0), (-30, 29 + math.exp(-30), -1)])
def test_no_slope_of_k3_has_the_wrong_sign(x, value, slope):
    """A token that has fallen beyond 20 nats below the start model is left alone, not pushed
    further down. One that has risen is pulled back however far it has come."""
    x = torch.tensor(float(x), dtype=torch.float64, requires_grad=True)
    k3(x).backward()
    same(k3(x).detach(), value, "k3 = e^x - x - 1 up to x = 20")
    same(x.grad, slope, "its slope e^x - 1 is never negative above 0")


def test_explained_variance():
    """The critic knows: 1. It says one number whatever comes: 0."""
    made = source("ppo", beta=0.0)

    def knows(batch, hp):
        s = batch.seqs["answer"]
        s.token_advantage = s.extra["returns"] = s.extra["old_values"]
        return batch
    made.objective = replace(made.objective, credit=knows)
    made(2)
    same(made.stats["explained_variance"], 1.0, "return = value", 1e-6)
    torch.nn.init.zeros_(made.policy.value.weight)
    made.objective = OBJECTIVES["ppo"]
    made(4)
    same(made.stats["explained_variance"], 0.0, "value = a constant", 1e-6)


# ---- methods with a twist ------------------------------------------------------------------------
def test_online_dpo_takes_the_best_and_the_worst():
    o, ids, on = OBJECTIVES["online_dpo"], torch.arange(8)[:, None], torch.ones(8, 1)
    R = torch.tensor([0.2, 0.9, 0.1, 0.5, 0.3, 0.3, 0.3, 0.3])
    got = o.credit(Batch.of({"answer": Seqs(ids, ids, on, on)}, Columns(reward=R)), o.hp(samples=4))
    (w, tied_w), (l, tied_l) = (got.seqs[role].inputs[:, 0].tolist()
                                for role in ("chosen", "rejected"))
    assert (w, l) == (1, 2) and {tied_w, tied_l} <= {4, 5, 6, 7} and tied_w != tied_l
    assert got.per_row.extra["untied"].tolist() == [1, 0], "LAW: a tie prefers nothing"
    for s, x in zip(got.seqs.values(), (-1.0, -3.0)):
        s.logp, s.ref_logp = torch.full((2, 1), x), torch.zeros(2, 1)
    want = math.log(1 + math.exp(-0.5 * 2)) / 2
    same(o.loss(got, o.hp(beta=0.5))[0], want,
         "DPO's loss of the pairs that differ, over all prompts", 1e-6)


def test_online_una_against_the_rollout_starts_at_a_half():
    batch = steps_of(source("online_una", start_seed=5), 1)[0]
    o, s = OBJECTIVES["online_una"], batch.seqs["answer"]
    score = batch.per_row.score
    same(o.loss(batch, o.hp(against="rollout"))[0].detach(), ((0.5 - score) ** 2).mean(),
         "the released code's reference is the policy that has just sampled: sigma(0) = 1/2 for "
         "every answer", 1e-5)
    s.sampled_logp = s.sampled_logp - 0.3 * s.mask  # as if a step had been taken since
    now = torch.sigmoid(0.1 * 0.3 * s.mask.sum(-1))
    same(o.loss(batch, o.hp(against="rollout"))[0].detach(), ((now - score) ** 2).mean(),
         "then the ratio", 1e-5)
    i = 0.1 * s.sum(s.logp - s.ref_logp).detach()
    same(o.loss(batch, o.hp(against="start"))[0].detach(), ((torch.sigmoid(i) - score) ** 2).mean(),
         "the paper's is the start model", 1e-5)


# ---- the runs of train ---------------------------------------------------------------------------
def go(tiny_base, name: str, out, *more) -> int:
    return call(train.main, "--objective", name, "--init", tiny_base, "--rows", 24, "--batch-size",
                4, "--max-new", 6, "--steps", 9, "--save-every", 3, "--lr", 0.003, "--show-every",
                0, *QUICK, "--out", out, *more)


def test_the_value_head_is_saved_beside_a_gpt2_folder(here, tiny_base):
    assert go(tiny_base, "ppo", "a") == 0
    assert not [k for k in load_file(here / "a/model.safetensors") if "value" in k], \
        "LAW: the model is a plain GPT-2"
    head = load_file(here / "a/value_head.safetensors")
    assert head["weight"].shape == (1, 32) and head["weight"].abs().max() > 0, \
        "and the critic has learnt something"
    model, _ = start_model(str(here / "a"))
    assert model.value is None
    add_value_head(model, str(here / "a"))
    same(model.value.weight.detach(), head["weight"],
         "a run that starts from there goes on with the critic", 0.0)
    log = metrics(here / "a")
    assert {"policy_loss", "value_loss", "explained_variance", "clip_fraction", "kl_k1", "kl_k3"} \
        <= log[0].keys()
    assert curves(here / "a").stat().st_size > 10_000, "a picture of all of them"
    transformers = pytest.importorskip("transformers")
    transformers.GPT2LMHeadModel.from_pretrained(here / "a")


# ---- a learnt reward, and prompts of one's own ---------------------------------------------------
def long_answers(asked: list[str], said: list[str], **fields: list) -> np.ndarray:
    """A reward that likes long answers; counts in logits, as Bradley-Terry models do."""
    return np.array([len(x) / 3 - 4 for x in said])


def test_a_learnt_reward_becomes_a_score_for_una(monkeypatch):
    monkeypatch.setattr("nanouft.rewards.scorer.load", lambda folder, device: long_answers)
    col = source("online_una", reward="out/reward")(0).per_row
    assert col.reward.std() > 0.1
    same(col.score, torch.sigmoid(col.reward), "sigma(reward), UNA's score", 1e-6)


def test_a_learnt_reward_and_prompts_of_a_file(here, tiny_base, monkeypatch):
    monkeypatch.setattr("nanouft.rewards.scorer.reward_hash", lambda name, rows: "-" + name)
    monkeypatch.setattr("nanouft.rewards.scorer.load", lambda folder, device: long_answers)
    assert go(tiny_base, "rloo", "w", "--reward", "out/reward", "--steps", 2) == 0
    first = metrics(here / "w")[0]
    assert 0 <= first["score"] <= 1 and first["reward"] != first["score"], \
        "the exact score stands beside it"
    file = lines(here / "d.jsonl", DEMOS)
    argv = ["--objective", "rloo", "--data", file, "--init", tiny_base, "--steps", 2,
            "--batch-size", 4, "--max-new", 6, *QUICK]
    assert call(train.main, *argv, "--reward", "out/reward", "--out", "a") == 0
    assert "score" not in metrics(here / "a")[0], "nothing exact is known of other prompts"
    held = read_json(here / "a/eval.json")["after"]["held_out"]
    assert held["low"] <= held["reward"] <= held["high"] and held["rows"] == 2, \
        "prompts held out, answered greedily"
    bare = lines(here / "p.jsonl", [{"prompt": d["prompt"]} for d in DEMOS])
    assert call(train.main, *[bare if a == file else a for a in argv], "--reward", "out/reward",
                "--out", "b") == 0
    assert (here / "a/model.safetensors").read_bytes() \
        == (here / "b/model.safetensors").read_bytes(), \
        "LAW: only the prompts of a file are read; answers may be missing"
    argv[1] = "distill"
    assert call(train.main, *argv, "--teacher", tiny_base, "--reward", "out/reward", "--out",
                "c") == 0
    assert metrics(here / "c")[0]["reward"] != 0, "a method without a reward tells one if asked"


# ---- probe worlds --------------------------------------------------------------------------------
# Each is so small that a right method cannot miss it, and catches one class of bug, through the
# real loop: a sign, credit that does not reach back through time, noise that is taken for a signal.
RIGHT, ASK = 3, 1                               # tokens; 0 is padding, 7 ends an answer


class Numbers:
    """A tokenizer whose words are the ids themselves."""
    pad, end, user, assistant, stops = 0, 7, -1, -1, {7}

    def decode(self, ids) -> str:
        return " ".join(map(str, ids))


@pytest.fixture
def learn(tmp_path, monkeypatch):
    """learn(objective, hp, score ...) -> (the weights before, the model after `steps` steps of the
    real loop); score(list of answer tokens) -> reward."""
    def run(objective, hp, score, new=1, steps=30):
        model = GPT(GPTConfig(vocab_size=8, n_ctx=12, n_layer=1, n_head=1, n_embd=16,
                              init_std=0.02), seed=0)
        if objective.value_head:
            add_value_head(model, "base")
        before = [p.detach().clone() for p in model.parameters()]
        rows = [Encoded({"prompt": Tokens(np.array([ASK]), np.zeros(1, int))},
                        Row(roles={"prompt": ((Turn("user", str(ASK)),), ())}))]
        cfg = train.Train(lr=0.02, batch_size=16, save_every=0, compile="off", warmup=0.0)

        def rewards(rows, texts):
            return np.array([score([int(t) for t in text.split()]) for text in texts])
        monkeypatch.setattr(train, "VALUE_RATE", 1)  # thirty times .02 is no learning rate
        source = Rollouts(rows, objective, hp, model, deepcopy(model), Numbers(), rewards, rows=16,
                          steps=steps, max_new=new)
        train.fit(model, objective, hp, steps, Run("probe", cfg, hp, CPU, tmp_path, source, None))
        return before, model
    return run


@torch.no_grad()
def chance(model: GPT) -> float:
    return model(torch.tensor([[ASK]]))[0, -1].softmax(-1)[RIGHT].item()


def settings(name: str, **kw):
    """Defaults with four answers a prompt, no leash and, for who has them, two steps a rollout. The
    critic's loss weighs a tenth: these worlds have rates so large that at full weight it would drag
    the shared states about."""
    hp = OBJECTIVES[name].hp
    beta = 1.0 if name.startswith("online") else 0.0  # those two have no method without one
    free = {"samples": 4, "beta": beta, "end_penalty": 0.0, "minibatches": 2, "passes": 1,
            "vf": 0.1, **kw}
    return hp(**{f.name: free[f.name] for f in fields(hp) if f.name in free})


# ---- 1. one-token bandit, 2. delayed reward ------------------------------------------------------
@pytest.mark.parametrize("name, new", [*((name, 2) for name in METHODS), ("ppo", 1)])
def test_bandit_and_delayed_reward(name, new, learn):
    _, model = learn(OBJECTIVES[name], settings(name), lambda said: float(said[:1] == [RIGHT]),
                     new=new)
    assert chance(model) > 0.8, (f"LAW: {name} finds the one token that pays, from 1/8, and gives "
                                 "it its part of a reward that comes later")


# ---- 3. ties -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["reinforce", "rloo", "grpo", "ppo", "online_dpo"])
def test_tie_world(name, learn):
    before, model = learn(OBJECTIVES[name], settings(name, vf=0.0), lambda said: 0.7, steps=4)
    for was, now in zip(before, model.parameters()):
        same(now.detach(), was, f"{name}: where every answer earns the same, nothing is learnt",
             1e-6)
