"""Sampling: a batch is its rows one by one, the cache changes nothing, what was said can be scored
again."""
from dataclasses import replace

import pytest
import torch
from tiny import TINY, same, tiny

from nanouft import sampling
from nanouft.errors import UserError
from nanouft.gpt import GPT
from nanouft.sampling import _choose, generate

PAD, NEVER = 0, -1                      # NEVER: a stop token that cannot be said
PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5], [8, 9]]
MODEL = tiny(3)


def ids(answers) -> list[list[int]]:
    return [a.ids for a in answers]


def say(prompts=PROMPTS, model=MODEL, **kw):
    return generate(model, prompts, **{"stop": NEVER, "pad": PAD, "max_new": 12, **kw})


def a_stop_token() -> int:
    """A token that greedy decoding says early in some answers and late or never in others."""
    said = ids(say())
    for token in range(17):
        n = [row.index(token) if token in row else 99 for row in said]
        if min(n) > 0 and min(n) < 6 < max(n):
            return token
    raise AssertionError("the tiny model never says anything twice; choose another seed")


def test_a_share_of_a_batch_is_answered_as_in_the_batch():
    every = say(temperature=1.0, seed=5)
    for mine in (range(0, 4, 2), range(1, 4, 2)):
        some = say([PROMPTS[i] for i in mine], temperature=1.0, seed=5, of=(mine, 4))
        assert ids(some) == [ids(every)[i] for i in mine], \
            "LAW: random numbers belong to a place in the whole batch"


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "seed": 5}, {"prior": [7, 7]},
                                 {"temperature": 1.0, "of": (range(1, 80, 2), 80)}], ids=str)
def test_what_does_not_fit_into_memory_is_answered_in_parts(how, monkeypatch):
    whole = say(PROMPTS * 10, **how)
    asked = []
    monkeypatch.setattr(sampling, "CACHE", 40_000)
    real = GPT.new_cache
    monkeypatch.setattr(GPT, "new_cache", lambda model, rows: asked.append(rows)
                        or real(model, rows))
    parts = say(PROMPTS * 10, **how)
    assert max(asked) < 20, "LAW: never more rows than there is room for"
    assert ids(parts) == ids(whole), "LAW: no answer depends on how many are decoded together"


@pytest.mark.parametrize("parts", [True, False])
def test_a_batch_is_its_rows_one_by_one(parts, monkeypatch):
    monkeypatch.setattr("nanouft.gpt.Cache.in_parts", parts)  # False: as caches of transformers
    together = say(PROMPTS * 10)                    # 40 rows are read in several parts
    for prompt, answer in zip(PROMPTS * 10, together):
        (alone,) = say([prompt])
        assert alone.ids == answer.ids, \
            "LAW: other rows, and the padding they cause, change no answer"
        same(answer.logp, alone.logp, "nor its log-probs", 1e-5)
    assert len({tuple(a) for a in ids(together)}) > 1, \
        "all answers are alike; this test could not fail"


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "seed": 5},
                                 {"temperature": 0.7, "top_k": 4, "top_p": 0.8, "seed": 2},
                                 {"prior": [7, 7]}, {"stop": "said"}], ids=str)
def test_the_cache_changes_nothing(how):
    how = {**how, "stop": a_stop_token()} if "stop" in how else how
    fast, slow = say(PROMPTS * 10, **how), say(PROMPTS * 10, **how, cached=False)
    assert ids(fast) == ids(slow), "LAW: cached and uncached decoding agree token by token"
    for a, b in zip(fast, slow):
        same(a.logp, b.logp, "and in every log-prob", 1e-5)


def test_top_k_1_and_a_tiny_top_p_are_greedy():
    greedy = ids(say())
    assert ids(say(temperature=2.0, top_k=1, seed=3)) == greedy, \
        "LAW: top-k 1 is greedy at any temperature"
    assert ids(say(temperature=2.0, top_p=1e-9, seed=3)) == greedy, \
        "LAW: the likeliest token always stays in the nucleus"
    assert ids(say(temperature=1e-6, seed=3)) == greedy, "LAW: temperature -> 0 is greedy"
    assert ids(say(temperature=1.0, seed=3)) != greedy, "and sampling is not"


def frequencies(**kw) -> torch.Tensor:
    """(V,) share of each token among 4,000 first tokens after one prompt."""
    answers = say([[3, 1, 4]] * 4000, max_new=1, **kw)
    return torch.bincount(torch.tensor(ids(answers))[:, 0], minlength=17) / 4000


def test_samples_follow_the_distribution():
    p = MODEL(torch.tensor([[3, 1, 4]]))[0, -1]
    for temperature in (0.5, 1.0, 2.0):
        same(frequencies(temperature=temperature, seed=1), (p / temperature).softmax(-1),
             f"softmax(logits / {temperature})", 0.03)
    order = p.argsort(descending=True)
    # the smallest set whose mass reaches .6
    n = int((p.softmax(-1)[order].cumsum(-1) < 0.6).sum()) + 1
    assert 1 < n < 17
    for cut, kept in (({"top_k": 3}, 3), ({"top_p": 0.6}, n)):
        want = torch.zeros(17, dtype=torch.float64)
        want[order[:kept]] = p[order[:kept]].softmax(-1)
        same(frequencies(temperature=1.0, seed=1, **cut), want,
             f"{cut} keeps the {kept} likeliest, renormalised", 0.03)


@pytest.mark.parametrize("r", [0.0, 1 - 2.0 ** -24], ids=["u = 1", "u as small as it gets"])
def test_no_random_number_draws_what_has_no_chance(r, monkeypatch):
    """Tokens of chance 0 stand at both ends, where an inclusive comparison or rounding would reach
    them."""
    logits = torch.full((5, 17), -torch.inf)
    logits[:, 3:11] = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch, "rand", lambda *size, **kw: torch.full(size, r))
    token = _choose(logits, torch.Generator(), torch.arange(5), 5)
    assert token.tolist() == [10 if r == 0 else 3] * 5


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "seed": 4}], ids=str)
def test_an_answer_that_ends_changes_no_other(how):
    prompts, stop = PROMPTS * 6, a_stop_token()
    answers = say(prompts, stop=stop, **how)
    for short, long in zip(answers, say(prompts, **how)):
        n = long.ids.index(stop) if stop in long.ids else len(long.ids)
        assert (short.ids, short.ended) == (long.ids[:n], stop in long.ids), \
            "LAW: it ends before the stop token"
        assert len(short.logp) == n + short.ended, \
            "LAW: the stop token's log-prob is kept: saying it was a choice"
        same(short.logp, long.logp[:len(short.logp)], "with the same log-probs", 1e-5)
    assert {a.ended for a in answers} == {True, False}


def test_a_stop_token_inside_the_prompt_ends_nothing():
    stop = a_stop_token()
    inside = [[stop, *p] for p in PROMPTS]
    for answer, long in zip(say(inside, stop=stop), ids(say(inside))):
        assert answer.ids == long[:long.index(stop) if stop in long else 12]


@pytest.mark.parametrize("how", [{}, {"temperature": 1.0, "seed": 1},
                                 {"temperature": 0.5, "top_k": 3, "seed": 1}, {"prior": [7, 7]}],
                         ids=str)
def test_log_probs_of_decoding_are_those_of_scoring(how):
    stop = a_stop_token()
    n_prior = len(how.get("prior", []))
    for prompt, answer in zip(PROMPTS, say(stop=stop, **how)):
        row = torch.tensor([prompt + answer.ids + [stop] * answer.ended])
        logp = MODEL(row[:, :-1], want="logp", targets=row[:, 1:])[0, len(prompt) - 1 + n_prior:]
        same(answer.logp, logp.detach(),
             "log-probs kept from decoding equal those of a scoring pass, at temperature 1", 1e-4)


def test_the_context_is_a_limit():
    model = GPT(replace(TINY, n_ctx=16), seed=3).double()
    long = list(range(1, 17)) + [3, 1, 4]
    (answer,) = say([long], model, max_new=6)
    assert len(answer.ids) == 6, "a prompt that leaves no room loses its beginning"
    assert answer.ids == say([long[-10:]], model, max_new=6)[0].ids, \
        "LAW: exactly as much as max_new needs"
    (full,) = say([long], model, max_new=99)
    assert len(full.ids) == 15 and not full.ended, "at most the context less one prompt token"
    assert full.ids == say([long[-1:]], model, max_new=15)[0].ids
    (led,) = say([long], model, max_new=6, prior=[5, 5])
    assert led.ids == [5, 5] + say([[*long[-8:], 5, 5]], model, max_new=6)[0].ids, \
        "LAW: forced tokens take room, too"
    short, cut = say([[2, 7], long], model, max_new=6)
    assert short.ids == say([[2, 7]], model, max_new=6)[0].ids, \
        "a short prompt beside a long one loses nothing"
    assert cut.ids == answer.ids
    with pytest.raises(UserError, match="no new token fits"):
        say([long, long], model, priors=[[1], [1] * 15])


def test_the_seed_decides():
    one, two = (ids(say(temperature=1.0, seed=s)) for s in (1, 2))
    torch.manual_seed(99)
    assert ids(say(temperature=1.0, seed=1)) == one, \
        "LAW: same seed, same batch, same answers, whatever the global generator did"
    assert one != two and say([]) == [], "another seed, other answers; nothing asked, nothing said"
    twins = ids(say([[3, 1, 4]] * 2, temperature=1.0, seed=1))
    assert twins[0] != twins[1], "rows of a batch draw different numbers"


def test_decoding_gives_the_threads_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        say()
        assert torch.get_num_threads() == 2
        with pytest.raises(UserError):
            say(max_new=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_only_sampling_may_change_the_last_digits():
    model, ids = tiny(double=False), torch.tensor([PROMPTS[2]])
    plain, double = model(ids), MODEL(ids)
    with torch.inference_mode():
        same(model(ids), plain, "sampling's products are the same sums", 1e-5)
        assert torch.equal(MODEL(ids), double), "doubles are left alone"
    with torch.no_grad():
        assert torch.equal(model(ids), plain), \
            "LAW: training and scoring use PyTorch's own products, to the last bit"
