"""C7: does SFT overestimate what its model does, and does IFT's temporal residual repair that?

The IFT paper (arXiv:2405.11870v3, abstract and section 4) says that SFT overestimates the ability
of a model, because it reads the demonstrator's words and not the model's own; a blend with the own
guess is to estimate better. No training with IFT is needed to ask that. SFT models trained on four
numbers of demonstrations answer new prompts of three families in which a rule says which word is
right after nearly any words:

    sum         the own last sum plus the next number; "and", "is" and the numbers in their places
    sort        of the words that are left to say, the first in the alphabet
    reverse     of the words that are left to say, the last of the prompt
    all three   the end, when nothing is left to say

The truth, of every sampled answer and step: is the model's word right after its OWN words? The
estimates, for the same step: the chance of the demonstrated word after the demonstrated words

    SFT             as they are
    lam .2, lam 1   read as the blend with the own guess (Eq. 17)

Steps are compared while the sampled answer goes on, and up to the step at which the demonstration
ends. So both sides are asked the same steps, and either may be larger. For whole answers SFT's
product is exact by the chain rule; `row_lines` prints it, and no question is asked of it.

Two limits. The rule is strict in sums: a word left out shifts the places of all that follow, and
the sum goes on from the prompt's number, not from one that was copied wrongly. And where SFT says
too much, "the blend lies nearer" asks no more than whether the smaller number that the blend always
gives stays on the same side of the truth; how much of the gap it closes is in the figures.

A number of a seed is the mean over the four sizes of data and the three families.
"""
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lessons.evidence import verdicts
from lessons.evidence.families import Asked

PASSES = {30: 6, 100: 12, 300: 6, 1020: 3}          # demonstrations: passes, chosen on validation
SEEDS = range(710, 715)
SAMPLES = 8                                         # sampled answers to a prompt
PROMPTS, PROMPT_SEED = 60, 13                       # of each family
STEPWISE = ("sum", "sort", "reverse")
FLAGS = "--objective sft --rows {rows} --batch-size 16 --lr 1.25e-4 --epochs {passes}"
LAMBDAS = {"SFT": 0.0, "lam .2": 0.2, "lam 1": 1.0}
END = "<|end|>"
EXPECTED = ("The first holds and the last does not, because a word after own mistakes is harder "
            "than one after right words. The blend always lowers the estimate: lam .2 lies nearer, "
            "lam 1 falls below and is undecided. A half-width of 2 points.")

QUESTIONS = {
    "Step by step, SFT overestimates what its model does": "better",
    "Step by step, the blend (lam .2) lies nearer to what the model does": "better",
    "Step by step, the blend (lam 1) lies nearer to what the model does": "better",
    "Step by step, SFT's estimate of what its model does is right": "as good",
}

# What is kept, after (bases, sizes, seeds, prompts): chance (..., estimates) mean over the steps
# that were compared, steps and right, the number of these and of those where the model was right;
# product, SFT's chance of the whole demonstration, and whole, how many samples were wholly right.
Packed = Mapping[str, np.ndarray]


# ---- from what was measured to verdicts ----------------------------------------------------------
def packed() -> Packed:
    return verdicts.packed("C7")


def bias(kept: Packed, estimate: str) -> np.ndarray:
    """(bases, sizes, seeds, prompts): by how much the estimate lies above the model's steps."""
    chance = kept["chance"][..., list(LAMBDAS).index(estimate)].astype(float)
    return chance - kept["right"] / kept["steps"]


def distance(kept: Packed, estimate: str) -> np.ndarray:
    """The same, with the sign that makes its mean on each base positive: the mean is how far the
    estimate lies from the truth. That sign is taken as known."""
    gap = bias(kept, estimate)
    return gap * np.sign(gap.mean((1, 2, 3), keepdims=True))


def gaps(kept: Packed) -> list[np.ndarray]:
    """One array (bases, sizes, seeds, prompts) for each of QUESTIONS."""
    over = bias(kept, "SFT")
    far = distance(kept, "SFT")
    return [over, far - distance(kept, "lam .2"), far - distance(kept, "lam 1"), over]


def asked_of(gap: np.ndarray, test: str) -> Asked:
    """(seeds, prompts of all families) -> family by family; every prompt is a draw of its own."""
    gaps = dict(zip(STEPWISE, np.split(gap, len(STEPWISE), axis=-1)))
    return Asked(gaps, dict.fromkeys(STEPWISE, np.arange(PROMPTS)), (STEPWISE,), test)


def lines(kept: Packed | None = None) -> list[verdicts.Line]:
    kept = kept or packed()
    by_base = [[asked_of(gap[base].mean(0), test)
                for gap, test in zip(gaps(kept), QUESTIONS.values())]
               for base in range(len(kept["steps"]))]
    return verdicts.lines_of("C7", list(QUESTIONS), by_base)


def row_lines() -> list[str]:
    """What each estimate says, in percent, against the truth: step by step, and whole answers."""
    kept = packed()
    out = [f"{'%, means over seeds':22}{'model':>10}" + "".join(f"{e:>10}" for e in LAMBDAS)
           + f"{'whole':>10}{'product':>10}"]
    for base in range(len(kept["steps"])):
        for size, rows in enumerate(PASSES):
            of_size = {name: x[base, size].astype(float) for name, x in kept.items()}
            numbers = [(of_size["right"] / of_size["steps"]).mean(),
                       *of_size["chance"].mean((0, 1)),
                       of_size["whole"].mean() / SAMPLES, of_size["product"].mean()]
            out.append(f"{('base', 'base-1')[base]:8}{rows:>6} rows   "
                       + "".join(f"{100 * x:10.1f}" for x in numbers))
    return [*out, f"    {FLAGS}"]


# ---- what is right after any words ---------------------------------------------------------------
def next_word(family: str, asked: list[str], said: list[str]) -> str:
    """The right word after `said`, END where nothing is left to say, "" where no word is right.
    `asked` are the words or numbers of the prompt."""
    if family == "sum":
        return next_in_sum(asked, said)
    left = list(asked)
    for word in said:
        if word in left:
            left.remove(word)
    if not left:
        return END
    return min(left) if family == "sort" else left[-1]


def next_in_sum(numbers: list[str], said: list[str]) -> str:
    """In "9 and 3 is 12 and 5 is 17" each number after the first takes four words."""
    if not said:
        return numbers[0]
    done, place = divmod(len(said) - 1, 4)
    if done == len(numbers) - 1:
        return END
    if place < 3:
        return ("and", numbers[done + 1], "is")[place]
    own_sum = said[4 * done]
    return str(int(own_sum) + int(numbers[done + 1])) if own_sum.isdecimal() else ""


def right_steps(family: str, asked: list[str], said: list[str], ended: bool, n: int) -> list[bool]:
    """Of the first n steps that the model took: was its word, or its end, right after its own
    words? An answer that was cut off has no end."""
    own = said + [END] * ended
    return [word == next_word(family, asked, said[:i]) for i, word in enumerate(own[:n])]


# ---- measuring a model ---------------------------------------------------------------------------
def measure(folder: str, seed: int, file: Path) -> None:
    """Write what one SFT model gives for each prompt: what `Packed` lists."""
    from nanouft import world
    from nanouft.models.folders import start_model
    from nanouft.models.generate import stops
    from nanouft.run.evaluation import answer_rows
    from nanouft.world.answers import read
    model, tok = start_model(folder)
    model.eval()
    prompts = world.rows("test", "prompts", PROMPTS * len(STEPWISE), PROMPT_SEED, skills=STEPWISE)
    again = [row for row in prompts for _ in range(SAMPLES)]
    samples = answer_rows(model, tok, again, temperature=1.0, seed=seed)
    chances = word_chances(model, tok, prompts)
    kept: dict[str, list] = {"chance": [], "steps": [], "right": [], "product": [], "whole": []}
    for i, row in enumerate(prompts):
        family, fields = read(row.prompt[0].text)
        chance = chances[i]                                             # (estimates, words + end)
        n, compared, right, whole = chance.shape[1], np.zeros(chance.shape[1]), 0, 0
        for answer in samples[i * SAMPLES:(i + 1) * SAMPLES]:
            said = tok.decode(answer.ids).split()
            good = right_steps(family, fields["words"].split(), said, stops(answer, tok), n)
            compared[:len(good)] += 1
            right += sum(good)
            whole += good == [True] * n
        kept["chance"].append(chance @ compared / compared.sum())
        kept["steps"].append(compared.sum())
        kept["right"].append(right)
        kept["product"].append(chance[0].prod())
        kept["whole"].append(whole)
    partial = file.with_name(f"partial-{file.name}")
    np.savez(partial, **{name: np.array(numbers, np.float16 if name in ("chance", "product")
                                        else np.uint8) for name, numbers in kept.items()})
    partial.rename(file)


def word_chances(model, tok, rows: list) -> list[np.ndarray]:
    """Of each row (estimates, words + 1): what each estimate says is the chance of each word of the
    demonstration, and of its end, after the demonstrated words."""
    import torch

    from nanouft.data.batches import collate, encode
    from nanouft.objectives import ift
    encoded, _ = encode([row.with_roles({"answer": (row.prompt, row.answer)}) for row in rows], tok,
                        model.cfg.n_ctx)
    batch = collate(encoded, range(len(encoded)), tok.pad)
    s = batch.seqs["answer"]
    logps = []
    with torch.no_grad():
        for lam in LAMBDAS.values():
            ift.IFT(lam=lam).forward(model, batch)                   # writes s.logp
            logps.append(s.logp)
    logp = torch.stack(logps).double().numpy()                          # (estimates,B,T) nats
    out = []
    for i, row in enumerate(rows):
        of_word = words_of_tokens(tok, s.targets[i][s.mask[i] > 0].tolist())
        summed = np.zeros((len(LAMBDAS), of_word[-1] + 1))
        for word, token in zip(of_word, s.mask[i].nonzero()[:, 0].tolist()):
            summed[:, word] += logp[:, i, token]
        assert summed.shape[1] == len(row.answer[0].text.split()) + 1
        out.append(np.exp(summed))
    return out


def words_of_tokens(tok, ids: list[int]) -> list[int]:
    """The number of the word to which each token of an answer belongs; the end is one of its own.
    A word begins where a token begins with a space."""
    starts = [i > 0 and (tok.decode([token]).startswith(" ") or i == len(ids) - 1)
              for i, token in enumerate(ids)]
    return np.cumsum(starts).tolist()
