"""C7: is IFT's temporal residual a better estimate of what a model can answer?

The IFT paper (arXiv:2405.11870v3, abstract and section 4) says that SFT estimates badly what a
model prefers, because it reads the demonstrator's words and not the model's own; reading a blend
with the own guess is to estimate better. No training with IFT is needed to ask that. SFT models
trained on four numbers of demonstrations answer 600 new prompts that have one right answer. The
truth is the share of four sampled answers that are right. The estimates are chances of the right
answer:

    SFT             read after the true words: exp(sum of log-probs)
    lam .2, lam 1   the same, reading the blend of Eq. 17
    IFT's loss      exp(-sum_t w_t l_t), with lam .2 and the weights of Eq. 19 at gamma .95

A number of a seed is the mean over the four sizes of data. An AUC, the chance that a prompt which
greedy decoding answers rightly has the higher estimate, is written as a mean over prompts.
"""
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from lessons.evidence import stats, verdicts

PASSES = {30: 6, 100: 12, 300: 6, 1020: 3}          # demonstrations: passes, chosen on validation
SEEDS = range(700, 705)
SAMPLES = 4                                         # sampled answers to a prompt
PROMPTS, PROMPT_SEED = 600, 11
NO_SINGLE_ANSWER = "list"                           # the family whose prompts have many
TOGETHER = 100                                      # rows of one forward
FLAGS = "--objective sft --rows {rows} --batch-size 16 --lr 1.25e-4 --epochs {passes}"
ESTIMATES = ("SFT", "lam .2", "lam 1", "IFT's loss")

Packed = Mapping[str, np.ndarray]   # right, greedy (bases, sizes, seeds, prompts), logp and order
                                    # (estimates, bases, sizes, seeds, prompts), groups (prompts,)


# ---- from what was measured to verdicts ----------------------------------------------------------
def chance(kept: Packed, estimate: str) -> np.ndarray:
    return np.exp(kept["logp"][ESTIMATES.index(estimate)].astype(float))


def bias(kept: Packed, estimate: str) -> np.ndarray:
    """By how much the estimate lies above the share of sampled answers that are right."""
    return chance(kept, estimate) - kept["right"] / SAMPLES


def brier(kept: Packed, estimate: str) -> np.ndarray:
    """The mean of (estimate - right)^2 over the sampled answers."""
    p, truth = chance(kept, estimate), kept["right"] / SAMPLES
    return p ** 2 - 2 * p * truth + truth


def auc(kept: Packed, estimate: str) -> np.ndarray:
    logp, positive = kept["logp"][ESTIMATES.index(estimate)].astype(float), kept["greedy"] == 1
    out = np.empty(logp.shape)
    for i in np.ndindex(logp.shape[:3]):
        out[i] = placement(logp[i], positive[i])
    return out


def placement(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """(prompts,) numbers whose mean is the AUC and whose spread is that of its prompts (DeLong et
    al. 1988): the share of the other class against which each prompt is ordered rightly."""
    above = (np.sign(score[:, None] - score[None, :]) + 1) / 2          # ties count one half
    wins = np.where(positive, above[:, ~positive].mean(1), 1 - above[:, positive].mean(1))
    area, share = wins[positive].mean(), positive.mean()
    return area + (wins - area) * np.where(positive, 1 / share, 1 / (1 - share))


def order(kept: Packed, estimate: str) -> np.ndarray:
    """Is the right answer put before the model's own first wrong one? A tie counts one half, and a
    prompt without a wrong sample counts as one."""
    return kept["order"][ESTIMATES.index(estimate)] / 2


Measure = Callable[[Packed, str], np.ndarray]
QUESTIONS: dict[str, tuple[str, Measure, str, str]] = {     # test, measure, estimate - other
    "SFT overestimates what its model can answer": ("better", bias, "SFT", ""),
    "SFT's estimate of what its model can answer is right": ("as good", bias, "SFT", ""),
    "The blend (lam .2) is the better forecast: its Brier score is smaller":
        ("better", brier, "SFT", "lam .2"),
    "The blend (lam .2) tells better which greedy answers are right (AUC)":
        ("better", auc, "lam .2", "SFT"),
    "IFT's whole loss tells better which greedy answers are right (AUC)":
        ("better", auc, "IFT's loss", "SFT"),
    "The blend (lam .2) puts the right answer before the own wrong one more often":
        ("better", order, "lam .2", "SFT"),
}


def packed() -> Packed:
    return verdicts.packed("C7")


def lines(kept: Packed | None = None) -> list[verdicts.Line]:
    kept = kept or packed()
    by_base: list[list[tuple]] = [[], []]
    for test, measure, estimate, other in QUESTIONS.values():
        gap = measure(kept, estimate) - (measure(kept, other) if other else 0)
        for base, found in enumerate(by_base):
            of_seed = gap[base].mean(0)                                 # (seeds, prompts)
            found.append((*stats.moments([of_seed], [kept["groups"]]), test))
    findings = zip(*map(verdicts.findings_of, by_base))
    return [verdicts.line_of("C7", question, how[0], found)
            for (question, how), found in zip(QUESTIONS.items(), findings)]


def row_lines() -> list[str]:
    """What each estimate says, in percent, against the truth."""
    kept = packed()
    out = [f"{'%, means over seeds':22}{'truth':>10}" + "".join(f"{e:>12}" for e in ESTIMATES)]
    for base in range(2):
        for size, rows in enumerate(PASSES):
            numbers = [chance(kept, estimate)[base, size].mean() for estimate in ESTIMATES]
            truth = kept["right"][base, size].mean() / SAMPLES
            out.append(f"{('base', 'base-1')[base]:8}{rows:>6} rows   {100 * truth:10.1f}"
                       + "".join(f"{100 * x:12.1f}" for x in numbers))
    return [*out, f"    {FLAGS}"]


# ---- measuring a model ---------------------------------------------------------------------------
def measure(folder: str, seed: int, file: Path) -> None:
    """Write what one SFT model gives: right (prompts,) of SAMPLES samples, greedy, logp, order."""
    from nanouft import world
    from nanouft.generate import answer_rows, stops
    from nanouft.models import start_model
    model, tok = start_model(folder)
    model.eval()
    families = [family for family in world.FAMILIES if family != NO_SINGLE_ANSWER]
    asked = world.rows("test", "prompts", PROMPTS, PROMPT_SEED, skills=families)
    again = [row for row in asked for _ in range(SAMPLES)]
    samples = answer_rows(model, tok, again, temperature=1.0, seed=seed)
    texts = [tok.decode(answer.ids).strip() for answer in samples]

    def right(row, answer) -> bool:
        text = tok.decode(answer.ids).strip()
        return world.score(row.prompt[0].text, text) == 1 and stops(answer, tok)
    good = [right(row, answer) for row, answer in zip(again, samples)]
    greedy = [right(row, answer) for row, answer in zip(asked, answer_rows(model, tok, asked))]
    wrong: dict[int, str] = {}                      # prompt: its first wrong answer that stops
    for i, answer in enumerate(samples):
        if not good[i] and stops(answer, tok):
            wrong.setdefault(i // SAMPLES, texts[i] or "?")
    logp = log_chances(model, tok, asked, [row.answer[0].text for row in asked])
    own = log_chances(model, tok, [asked[i] for i in wrong], list(wrong.values()))
    ahead = np.full((len(ESTIMATES), PROMPTS), np.nan)
    ahead[:, list(wrong)] = logp[:, list(wrong)] - own
    ahead = ahead.astype(np.float16)
    ordered = np.where(np.isnan(ahead), 2, 2 * (ahead > 0) + (ahead == 0)).astype(np.uint8)
    partial = file.with_name(f"partial-{file.name}")
    np.savez(partial, right=np.reshape(good, (-1, SAMPLES)).sum(1), greedy=greedy,
             logp=logp.astype(np.float16), order=ordered)
    partial.rename(file)


def log_chances(model, tok, rows: list, texts: list[str]) -> np.ndarray:
    """(estimates, rows): the log of what each estimate says is the chance of these answers."""
    import torch

    from nanouft import world
    from nanouft.batches import collate, encode
    from nanouft.objectives import ift
    out: list[np.ndarray] = []
    for i in range(0, len(rows), TOGETHER):
        answered = [row.with_roles({"answer": (row.prompt, world.as_answer(text))})
                    for row, text in zip(rows[i:i + TOGETHER], texts[i:i + TOGETHER])]
        encoded, _ = encode(answered, tok, model.cfg.n_ctx)
        batch = collate(encoded, range(len(encoded)), tok.pad)
        s = batch.seqs["answer"]
        sums = []
        with torch.no_grad():
            for lam, gamma in ((0.0, None), (0.2, None), (1.0, None), (0.2, 0.95)):
                ift.forward(model, batch, ift.IFT(lam=lam))             # writes s.logp
                loss = (-s.logp).masked_fill(s.mask == 0, 0)            # (B,T) nats
                if gamma is not None:
                    loss = loss * ift.weights(loss, s, ift.IFT(lam=lam, gamma=gamma))
                sums.append(-s.sum(loss).numpy())
        out.append(np.stack(sums))
    return np.concatenate(out, 1)
