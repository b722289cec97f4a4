"""Decoding: a batch gives what its rows give one by one, the cache changes nothing, and scoring an
answer again gives the same log-probs. A rollout: the policy itself answers, every number is where
it belongs, and the reported statistics are right.
"""
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from made import CPU, NANO, TINY, logits, nano, same, tiny

from nanouft import generate as decoding
from nanouft import rollout, world
from nanouft.data.batches import Batching, Encoded, Tokens, collate, encode
from nanouft.data.row import Row
from nanouft.device import Device
from nanouft.generate import Answer, generate
from nanouft.gpt import GPT
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.errors import Diverged
from nanouft.plumbing.seeds import rollout_seed
from nanouft.policy_gradient import log_rho
from nanouft.rollout import Rollouts, Sampler, batch_of, rollout_stats, write_rollout_logps
from nanouft.run.evaluation import answer_rows
from nanouft.train import collect, sampled_batch

MODEL = tiny(5, n_ctx=24).double()
# the last one has stop tokens, fills the context and loses its beginning, so one token fits
PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5], [8, 9], [*range(1, 17), *range(1, 13)]]
STOPS = {13, 15}                        # in some answers, not in others


def answers(prompts, model=MODEL, **how) -> list[Answer]:
    return generate(model, prompts, **{"stop": STOPS, "pad": 0, "max_new": 18, **how})


def ids(some: list[Answer]) -> list[list[int]]:
    return [a.ids for a in some]


# ---- decoding ------------------------------------------------------------------------------------
@cache
def written_out(temperature: float) -> list[Answer]:
    """To all PROMPTS, six times: for each token everything is read again, without cache, padding or
    a batch, but with the same random numbers."""
    rng, out = torch.Generator().manual_seed(5), list[Answer]()
    numbers = [torch.rand(6 * len(PROMPTS), generator=rng) for _ in range(18)]
    for place, prompt in enumerate(PROMPTS * 6):
        read, said, nats = prompt[-23:], list[int](), list[float]()
        while len(said) < 18 and len(read) < 24 and not {*said} & STOPS:
            z = logits(MODEL, torch.tensor([read]))[0, -1].detach().float()
            p, u = (z / (temperature or 1)).softmax(-1), 1 - numbers[len(said)][place]
            token = int((p.cumsum(-1) < u * p.sum()).sum()) if temperature else int(z.argmax())
            nats.append(float(z.log_softmax(-1)[token]))    # whatever it was drawn at
            said.append(token)
            read = [*read, token]
        ended = said[-1] in STOPS
        out.append(Answer(said[:-1] if ended else said, ended, nats, said[-1] if ended else None))
    return out


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("name, value", [
    ("CACHE", 200_000), ("FEW", 10**9), ("FEW", 0),
    *(("steps_between_checks", lambda device, steps=steps: steps) for steps in (5, 16))])
def test_decoding_is_reading_everything_again_for_each_token(name, value, temperature, monkeypatch):
    """Whoever is answered beside it: all at once or in parts that fit into memory; equal prompts
    read once or each; however seldom a device is asked who still speaks. Nothing is streamed after
    an answer's end or beyond the context, and no answer counts twice."""
    monkeypatch.setattr(decoding, name, value)
    streamed, counted, wanted = list[int](), list[int](), written_out(temperature)
    got = answers(PROMPTS * 6, temperature=temperature, seed=5, count=counted.append,
                  stream=lambda x: streamed.extend(x.tolist()))
    assert {a.stop for a in wanted} == {*STOPS, None}
    assert [replace(a, logp=[]) for a in got] == [replace(a, logp=[]) for a in wanted]
    for a, want in zip(got, wanted):
        same(a.logp, want.logp, 1e-5)
    said = [token for a in got for token in [*a.ids, *[a.stop] * a.ended]]
    assert sorted(streamed) == sorted(said)
    assert min(counted) >= 0 and sum(counted) == len(got)
    assert answers([]) == []


def test_equal_prompts_are_read_once(monkeypatch):
    """As in a group of samples."""
    forward, read = GPT.forward, list[int]()
    monkeypatch.setattr(GPT, "forward", lambda self, ids, **how:
                        read.append(len(ids)) or forward(self, ids, **how))
    answers(PROMPTS * 6)
    assert read[:2] == [5, 30]


@pytest.mark.parametrize("u, token", [(0.0, 10), (1 - 2.0 ** -24, 3)])
def test_no_random_number_draws_what_has_no_chance(u, token):
    """Tokens of chance 0 stand at both ends, where rounding would reach them."""
    z = torch.full((5, 17), -torch.inf)
    z[:, 3:11] = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    assert decoding.sample_by_cumulative(z, torch.full((5, 1), u)).tolist() == [token] * 5


def test_rows_are_answered_in_their_order_and_threads_are_given_back():
    """Each chunk has random numbers of its own."""
    rows = world.rows("val", "prompts", 9, 0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        got = answer_rows(nano(), NANO, rows, max_new=4, chunk=5)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    for row, a in zip(rows, got, strict=True):
        assert a.ids == answer_rows(nano(), NANO, [row], max_new=4)[0].ids
    twice = answer_rows(nano(), NANO, rows[:1] * 2, max_new=4, chunk=1, temperature=1.0)
    assert twice[0].ids != twice[1].ids


# ---- rollouts ------------------------------------------------------------------------------------
def source(name: str, dtype: str = "fp32", **settings) -> Rollouts:
    """A source of steps over NanoWorld prompts with a small random policy, eight prompts per
    step. A score that a random policy reaches: how many letters its answer has."""
    o = OBJECTIVES[name](**settings)
    prompts, _ = encode(o.choose(world.rows("train", "prompts", 40, 0)), NANO, 115)
    policy, start = (GPT(replace(TINY, vocab_size=NANO.n_vocab, n_ctx=128, init_std=0.1), seed=0)
                     for _ in range(2))
    o.setup(policy, 0)
    if hasattr(policy, "value_head"):
        torch.nn.init.normal_(policy.value_head.weight, 0, 0.1, torch.Generator().manual_seed(1))
    return Rollouts(prompts, o, Sampler(policy, start, NANO, 12, Device("cpu", dtype)),
                    lambda rows, texts: [len({*text}) / 40 for text in texts],
                    Batching(batch_size=8, steps=40, seed=3), exact=world.exact_scores)


@pytest.mark.parametrize("name", [n for n, o in OBJECTIVES.items() if o().on_policy])
def test_the_ratio_is_one_before_the_first_update(name):
    """What decoding said of its tokens is what a second look says of them."""
    made = source(name)
    batch = sampled_batch(made, 0)
    made.objective.forward(made.sampler.policy, batch)
    for role, s in batch.seqs.items():
        if role == "demo" and not made.objective.measures_demos:
            assert s.sampled_logp is None and not s.extra               # nobody reads them
            continue
        same(s.sampled_logp, s.logp.detach(), 1e-5)
        assert (s.sampled_logp[s.mask == 0] == 0).all()
    demos = [s for role, s in batch.seqs.items() if role == "demo"]     # in the first row of four
    rows = [int((s.mask.sum(-1) >= 1).sum()) for s in batch.seqs.values()]
    assert rows == [batch.n] * (len(rows) - len(demos)) + [batch.n // 4] * len(demos)
    said = made.objective.loss(batch)[1]
    assert said.get("clip_fraction", 0) == 0 and abs(said.get("kl_step", 0)) < 1e-8
    assert made.stats["decode_gap"] < 1e-5 and "score" in made.stats
    assert ("explained_variance" in made.stats) == (name == "ppo")


class Net:
    """Another network than the policy, as if compiled: its logits are four times as large."""

    def __init__(self, policy: GPT):
        self.policy = policy

    def __call__(self, *ids, **how):
        return self.policy(*ids, **how)

    def head(self, hidden):
        return 4 * self.policy.head(hidden)


def test_in_half_precision_the_ratio_begins_at_exactly_one():
    """Products depend on the shape of a batch there, so old log-probs come from the network of the
    steps, over the same micro-batches. Between two equal models lies no nat."""
    made = source("grpo", dtype="bf16", minibatches=2, passes=2)
    net = Net(made.sampler.policy)
    made.sampler = replace(made.sampler, compiled=net)
    made.batching = replace(made.batching, accumulate=4)
    for step in range(4):
        micro_batches = sampled_batch(made, step).micro_batches()
        assert len(micro_batches) == 4
        for micro_batch in micro_batches:
            with made.sampler.device.autocast():
                made.objective.forward(net, micro_batch)
            s = micro_batch.seqs["answer"]
            ratio = log_rho(s)
            pushed, = torch.autograd.grad(ratio.sum(), s.logp)
            assert (ratio == 0).all() and torch.equal(pushed, s.mask)
            assert (s.sampled_logp is None) == (step == 0)
    s = collect(made, 0).seqs["answer"]
    assert torch.equal(s.sampled_logp, s.ref_logp) and 1e-4 < made.stats["decode_gap"] < 0.1


@pytest.mark.parametrize("name", ["rloo", "reinforce", "grpo"])
def test_a_constant_reward_moves_no_weight(name):
    """Not even by what fp32 rounds, which Adam would take for a gradient."""
    made = source(name)
    made.score = lambda rows, texts: [0.7] * len(texts)
    batch = sampled_batch(made, 0)
    made.objective.forward(made.sampler.policy, batch)
    made.objective.loss(batch)[0].backward()
    assert all(p.grad is None or not p.grad.any() for p in made.sampler.policy.parameters())
    assert made.stats["decode_gap"] > 0


def test_the_stop_token_is_an_answer_token_like_any_other():
    """Of several the one that was said."""
    asked = source("rloo").prompts[:3]
    some = [Answer([5, 6], True, [-1.0] * 3, stop=4), Answer([7, 8, 9], False, [-1.0] * 3),
            Answer([], True, [-1.0], stop=NANO.end)]
    s = batch_of(asked, some, NANO).seqs["answer"]
    for i, (e, a) in enumerate(zip(asked, some)):
        said = a.ids + [a.stop] * a.ended
        assert s.targets[i][s.mask[i] > 0].tolist() == said
        whole = [*s.inputs[i, :1].tolist(), *s.targets[i][s.not_padding[i] > 0].tolist()]
        assert whole == [*e.seqs["prompt"].ids, *said]
        assert len(a.logp) == s.mask[i].sum()


def test_a_rollout_is_a_function_of_its_number_and_the_weights(monkeypatch):
    """At temperature 1. Each rollout, chunk, seed and step on a rollout has random numbers of its
    own, even for the same prompts; a step knows how far the run is."""
    a, b = (source("rloo", samples=2, minibatches=2) for _ in range(2))
    told, again = [sampled_batch(a, number) for number in range(4)], sampled_batch(b, 2)
    first, _, second, _ = (batch.seqs["answer"].inputs.tolist() for batch in told)
    assert first != second == again.seqs["answer"].inputs.tolist() and a.rollout == 1
    assert len({batch.seed for batch in told}) == 4 and told[2].seed == again.seed
    assert [batch.progress for batch in told] == [n / 40 for n in range(4)]
    monkeypatch.setattr(rollout, "CHUNK", 2)
    said, prompt = [], a.prompts[0].seqs["prompt"].ids.tolist()
    for number, seed in ((0, 3), (1, 3), (0, 4)):
        some = ids(a.sampler.sample([a.prompts[0]] * 4, seed, number))
        said += [some[:2], some[2:]]
    assert all(x != y for i, x in enumerate(said) for y in said[:i])
    assert said[0] == ids(answers([prompt] * 2, a.sampler.policy, stop=NANO.stops, max_new=12,
                                  temperature=1.0, seed=rollout_seed(3, 0, 0)))


def test_every_answer_is_used_once_a_pass_and_groups_stay_together():
    """Each rollout and pass has an order of its own."""
    made = source("rloo", samples=4, minibatches=2, passes=3)
    batch = collect(made, 0)
    batch.per_row["reward"] = torch.arange(64.0)                # each answer's place in the rollout

    def orders(number: int, seed: int) -> list[list[float]]:
        made.batching = replace(made.batching, seed=seed)
        steps = made.cut(batch, number)
        mine = torch.stack([step.per_row["reward"] for step in steps]).view(3, 16, 4)
        same(mine - mine[..., :1], torch.arange(4.0).expand(3, 16, 4))
        return mine.flatten(1).tolist()
    found = orders(0, 3) + orders(1, 3) + orders(0, 4)
    assert all(sorted(x) == list(range(64)) for x in found)
    assert all(x != y for i, x in enumerate(found) for y in found[:i])
    order = made.order.ravel()[:40]
    assert sorted(order) == list(range(40)), "each prompt once before any comes again"


def test_what_a_rollout_tells_in_a_plain_loop():
    """Means over answers or over their tokens, with the exact KL of the whole vocabulary
    (docs/runs.md)."""
    rng = np.random.default_rng(0)
    rows = [Encoded({"answer": Tokens(rng.integers(0, 17, n), np.arange(n) >= 2)}, Row())
            for n in (7, 4, 9, 5, 6, 8)]
    batch, policy, start = collate(rows, range(6), 0), tiny(0).double(), tiny(1).double()
    s = batch.seqs["answer"]
    decoded = torch.linspace(-3, -1, int(s.mask.sum())).double()
    batch.per_row = {"reward": torch.tensor([0.0, 1.0, 0.5, 0.5, 1.0, 0.25]),
                     "ended": torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])}
    seen = write_rollout_logps(batch, policy, start, CPU)
    kl, entropy, k1, k3, gaps = [], [], [], [], []
    for (i, t), old in zip(s.mask.nonzero().tolist(), decoded.tolist()):
        p, q = (logits(m, s.inputs[i:i + 1]).detach()[0, t].log_softmax(-1)
                for m in (policy, start))
        token = s.targets[i, t]
        kl.append(float((p.exp() * (p - q)).sum()))
        entropy.append(-float((p.exp() * p).sum()))
        gaps.append(abs(old - float(p[token])))
        k1.append(old - float(q[token]))
        k3.append(math.exp(-k1[-1]) - 1 + k1[-1])
        same(s.ref_logp[i, t], q[token], 1e-6)
        same(s.sampled_logp[i, t], p[token], 1e-6)
    want = {"reward": 3.25 / 6, "ends": 5 / 6, "ties": 1 / 3, "length": len(kl) / 6,
            "kl_exact": np.mean(kl), "kl_k1": np.mean(k1), "kl_k3": np.mean(k3),
            "kl_answer": sum(kl) / 6, "entropy": np.mean(entropy), "decode_gap": max(gaps)}
    assert rollout_stats(batch, decoded, *seen, samples=2) == pytest.approx(want, rel=1e-4)
    assert "ties" not in rollout_stats(batch, decoded, *seen, samples=1)


def test_an_answer_that_begins_another_question_counts_as_one_that_does_not_end(monkeypatch):
    """So PPO takes its penalty off it, too."""
    end, said = NANO.end, [([5], True), ([5, NANO.user, 6], True), ([NANO.assistant], True),
                           ([5, 6], False)]
    answers = [Answer(ids, ended, [-1.0] * (len(ids) + ended), end if ended else None)
               for ids, ended in said]
    monkeypatch.setattr(Sampler, "sample", lambda self, prompts, *more: answers * 8)
    made = source("ppo", samples=4, minibatches=1)
    assert collect(made, 0).per_row["ended"].tolist() == [1, 0, 0, 0] * 8
    same(made.stats["ends"], 1 / 4)


def test_a_policy_that_says_nan_stops_the_run_in_one_line():
    made = source("rloo")
    made.sampler.policy.ln_f.weight.data.fill_(torch.nan)
    with pytest.raises(Diverged, match="the run diverged before step 1: .*lower --lr"):
        sampled_batch(made, 0)
