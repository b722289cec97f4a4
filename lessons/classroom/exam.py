"""Questions on earlier lessons, with their answers: an exam on paper, or a quiz to begin a class.

    python -m lessons exam --seed 71                    # eight questions of the whole course
    python -m lessons exam --before 09 --questions 3    # a quiz before lesson 09

It prints the questions and writes them and their answers into a folder of out/exam with the number
of the seed, which must be new: you may have changed words there. A seed draws questions and
numbers; a pocket calculator is enough. The losses of the project compute the answers, so nobody has
to. Students can read this file, too: keep the seed of an exam to yourself.
"""
import argparse
import math
import re
import sys
from pathlib import Path
from random import Random

import torch

from lessons.evidence import stats
from lessons.lesson_list import NUMBERS
from nanouft.batch import Batch, Seqs
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.grpo import standardise
from nanouft.objectives.ift import weights
from nanouft.objectives.ppo import gae
from nanouft.objectives.rloo import leave_one_out
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import say
from nanouft.pushes import batch_pushes

OUT = Path("out/exam")
HEAD = "Three digits are enough; logarithms are natural.\n"
IN_WORDS = [
    ("After UFT a model tells the truth more often than after SFT on the demonstrations alone, and "
     "the authors conclude that merging both kinds of rows teaches truth. Which control is "
     "missing, and which result of it would refute them?",
     "The same scored answers without any demonstration, with as many steps and tries. If that "
     "model tells the truth as often, the scores teach it, and merging adds nothing (lesson 09)."),
    ("A model answers a prompt wrongly each time. What does GRPO learn from this prompt, and what "
     "could teach the model more?",
     "Nothing: all scores of the group are equal, so every advantage is 0. A demonstration shows "
     "it an answer that it never says; a larger group may help as well (lesson 12)."),
    ("Somebody tries 40 recipes on one seed and publishes the best, which leads SFT by a point. "
     "What do you expect on other seeds, and what should have been fixed before?",
     "Most of the lead vanishes, because the best of many draws is usually a lucky one. Endpoint, "
     "threshold, number of seeds, and settings, which are chosen on validation questions with the "
     "same number of tries for each recipe (lesson 14)."),
]


def answers(logp: list[list[float]], before: list[list[float]] | None = None) -> Seqs:
    """Answers of as many tokens each, with the log-probabilities of these now and before."""
    mask = torch.ones(len(logp), len(logp[0]))
    ids = torch.zeros_like(mask, dtype=torch.long)
    return Seqs(ids, ids, mask, mask, torch.tensor(logp), torch.tensor(before or logp))


def loss_and_pushes(method: str, seqs: dict[str, Seqs], columns: dict | None = None, **settings):
    """(loss, {role: (B,T) the push on each token}) of a method."""
    objective = OBJECTIVES[method](**settings)
    batch = Batch.of(seqs, {name: torch.tensor(x) for name, x in (columns or {}).items()})
    return objective.loss(batch)[0].item(), batch_pushes(objective, batch)


def sample(rng: Random, low: float, high: float, many: int) -> list[float]:
    """Different numbers with one digit behind the point."""
    return [x / 10 for x in rng.sample(range(round(10 * low), round(10 * high) + 1), many)]


def listing(numbers, form: str = "+.3f") -> str:
    return ", ".join(f"{float(x):{form}}" for x in numbers)


# ---- the questions: each returns (question, answer) ----------------------------------------------
def first_push(rng: Random) -> tuple[str, str]:
    tokens, beta = rng.randint(3, 12), rng.choice([0.1, 0.2, 0.5])
    seqs = {side: answers([[-1.0] * tokens]) for side in ("chosen", "rejected")}
    _, push = loss_and_pushes("dpo", seqs, beta=beta)
    each = tokens * push["chosen"][0, 0].item()
    return (f"A better and a worse answer have {tokens} tokens each. Which push, multiplied by the "
            f"number of tokens, does DPO give to a token of either before any training, with beta "
            f"= {beta:g}? What becomes of it on a word that both answers share, after the same "
            "words?",
            f"{each:+.3f} and {-each:+.3f}, beta/2 times {tokens}. The two cancel (lesson 00).")


def attention(rng: Random) -> tuple[str, str]:
    scores = sample(rng, -2, 2, 4)
    weights = torch.tensor(scores[:3]).softmax(0)
    return (f"The third of four positions asks. Query times key, already divided, gives "
            f"{listing(scores, 'g')} for the four. Which weights does causal attention give them?",
            f"{listing([*weights, 0.0], '.3f')}: the fourth is still to come, and the other three "
            "share it all (lesson 01).")


def two_means(rng: Random) -> tuple[str, str]:
    short, long = rng.randint(2, 4), rng.randint(8, 20)
    low, high = sorted(sample(rng, 0.2, 3, 2))
    each = [answers([[-x] * n]).logp for n, x in ((short, high), (long, low))]
    over_tokens = -torch.cat(each, 1).mean().item()
    over_answers = -torch.stack([x.mean() for x in each]).mean().item()
    return (f"An answer of {short} tokens, its end included, has a mean loss of {high:g} nats a "
            f"token, one of {long} tokens {low:g}. What is SFT's loss as a mean over all tokens, "
            "and as a mean over answers? What if the end of both is left out of the mask?",
            f"{over_tokens:.3f} and {over_answers:.3f}. Then nothing asks the model to stop, and "
            "it does not learn to (lesson 02).")


def path(rng: Random) -> tuple[str, str]:
    chances = [x / 10 for x in sample(rng, 4, 9, 3)]
    whole = torch.tensor(chances).prod().item()
    mean = torch.tensor(chances).mean().item()
    return (f"In the demonstrator's three cells a policy makes the right move with the chances "
            f"{listing(chances, 'g')}. How likely is it to walk the whole path, and what is SFT's "
            "mean chance of a right move? Which of the two can be too high for walks of its own?",
            f"{whole:.3f} and {mean:.3f}. The mean: by itself it also stands in cells where it has "
            "practised less (lesson 05).")


def ift(rng: Random) -> tuple[str, str]:
    losses, gamma = [*sample(rng, 1, 3, 2), 0.0], rng.choice([0.5, 0.8, 0.9])
    s = answers([[-x for x in losses]])
    w = weights(torch.tensor([losses]), s, "detached", gamma)[0]
    _, push = loss_and_pushes("ift", {"answer": s}, variant="released", gamma=gamma)
    last = push["answer"][0, -1]
    assert last < 0, "the answer says downwards"
    return (f"The three tokens of an answer have the losses {listing(losses, 'g')}, and gamma is "
            f"{gamma:g}. Which weights, with mean 1, does IFT give them? Which way does the loss "
            "as released push the last token, and why?",
            f"{listing(w, '.3f')}. Downwards, by {-last:.3f}: its loss is 0 and multiplied by "
            "itself, so that to raise it costs next to nothing. But it adds to the sum by which "
            "all weights are divided, and so takes weight from the hard tokens (lesson 06).")


def dpo(rng: Random) -> tuple[str, str]:
    chosen, rejected = sample(rng, -30, -20, 2)
    less, lesser = sorted(sample(rng, 1, 9, 2))             # both fall, the rejected one further
    loss, push = loss_and_pushes(
        "dpo", {"chosen": answers([[chosen - less]], [[chosen]]),
                "rejected": answers([[rejected - lesser]], [[rejected]])}, beta=0.1)
    return (f"Under the start model log p is {chosen:g} for the chosen answer and {rejected:g} "
            f"for the rejected one; now it is {chosen - less:.1f} and {rejected - lesser:.1f}. "
            "Give DPO's margin, its loss, and the push on a token of each answer for beta = 0.1. "
            "Has training made the chosen answer more likely?",
            f"Margin {0.1 * (lesser - less):.3f}, loss {loss:.3f}, pushes "
            f"{push['chosen'].item():+.4f} and {push['rejected'].item():+.4f}. No: it has fallen "
            f"by {less:g} nats, and the rejected one by {lesser:g}, while the loss sees only the "
            "difference (lesson 07).")


def una(rng: Random) -> tuple[str, str]:
    score, beta = rng.choice([0.6, 0.7, 0.8, 0.9]), rng.choice([0.1, 0.2, 0.5])
    ends = math.log(score / (1 - score)) / beta
    nats = round(ends + rng.choice([-2, 2]), 1)
    (loss, push), (_, none) = (
        loss_and_pushes("una", {"answer": answers([[x]], [[0.0]])}, {"score": [score]}, beta=beta)
        for x in (nats, ends))
    assert abs(none["answer"]) < 1e-6, "there the push vanishes"
    change = "more likely" if nats > 0 else "less likely"
    return (f"An answer has the score {score:g} and is now {abs(nats):g} nats {change} than under "
            f"the start model. Give UNA's loss for beta = {beta:g}, and the push on a token with "
            "its sign. At how many nats does the push vanish? And that on a demonstration in "
            "UFT?",
            f"Loss {loss:.4f}, push {push['answer'].item():+.4f}. At log(score/(1 - score))/beta "
            f"= {ends:.3f} nats. That on a demonstration, whose score is 1, fades, but never "
            "vanishes (lesson 09).")


def poft(rng: Random) -> tuple[str, str]:
    mine, aligned = sample(rng, -2, -1, 2), [*sample(rng, -0.9, -0.2, 1), *sample(rng, -4, -2.5, 1)]
    loss, push = loss_and_pushes("poft", {"answer": answers([[x] for x in mine])},
                                 {"aligned_logp": aligned})
    return (f"Two demonstrations have the mean log-probabilities {listing(mine, 'g')} per token "
            f"under the policy and {listing(aligned, 'g')} under the helper. Give PoFT's "
            "trust in each, and its loss. Does a small trust show that a demonstration is wrong?",
            f"Trust {listing(2 * push['answer'][:, 0], '.3f')}, loss {loss:.3f}. No: it compares "
            "two opinions. A right answer that the helper finds unlikely gets a small "
            "trust, and a wrong one that surprises both models equally gets 1/2 (lesson 10).")


def group(rng: Random) -> tuple[str, str]:
    scores = [*sample(rng, 0, 0.9, 3), 1.0]
    R = torch.tensor([scores])
    return (f"Four answers to a prompt have the scores {listing(scores, 'g')}. Give their "
            "advantages in RLOO and in GRPO. What are both if all four scores are equal?",
            f"RLOO {listing(leave_one_out(R)[0])}; GRPO {listing(standardise(R)[0])}. 0, and the "
            "group teaches nothing (lesson 12).")


def seeds(rng: Random) -> tuple[str, str]:
    middle = rng.choice([-1.5, -0.5, 0.5, 1.5, 3.0])
    d = torch.tensor([round(middle + rng.gauss(0, 1.2), 1) for _ in range(5)], dtype=torch.float64)
    mean, half = d.mean().item(), stats.half_width(d.var().item() / 5, 4)
    word = stats.verdict(mean, half, "better")
    wrong = ("that both are equally good, since five seeds may be too few to show a difference"
             if word == "undecided" else "that this is so on other models, tasks or settings")
    return (f"With five seeds a recipe leads SFT by {listing(d, '+.1f')} points, seed by seed. "
            "Student's t with 4 degrees of freedom is 2.776. Does it hold that the recipe is "
            "better? Name one thing that must not be concluded.",
            f"{mean:+.2f} ± {half:.2f}: {word}. Not to be concluded: {wrong} (lesson 14).")


def critic(rng: Random) -> tuple[str, str]:
    values, score, lam = sample(rng, 0.1, 0.9, 3), rng.choice([0.0, 1.0]), rng.choice([0.5, 0.8])
    R, V = torch.tensor([[0.0, 0.0, score]]), torch.tensor([values])
    some, whole = (gae(R, V, torch.ones_like(V), 1.0, x)[0] for x in (lam, 1.0))
    return (f"A critic says {listing(values, 'g')} before the three tokens of an answer, whose "
            f"score is {score:g}. Give the advantages of GAE without a discount, for lambda = "
            f"{lam:g} and for lambda = 1. Why do errors of the critic do no harm, on average, for "
            "lambda = 1?",
            f"{listing(some)}; {listing(whole)}. There the advantage is the score minus V_t, and "
            "V_t does not depend on the token that follows, like any baseline (lesson 15).")


QUESTIONS = (first_push, attention, two_means, path, ift, dpo, una, poft, group, seeds, critic)


def exam(seed: int, many: int, before: str = "") -> list[tuple[str, str]]:
    """Questions of lessons before this one, in the order of the lessons, with their answers."""
    rng = Random(seed)
    both = [*(question(rng) for question in QUESTIONS), *IN_WORDS]
    earlier = [x for x in both if not before or lesson_of(x) < before]
    if not 0 < many <= len(earlier):
        raise UserError(f"--questions {many}: must be from 1 to {len(earlier)}"
                        + f" before lesson {before}" * bool(before))
    return sorted(rng.sample(earlier, many), key=lesson_of)


def lesson_of(both: tuple[str, str]) -> str:
    """The lesson that an answer names at its end."""
    return re.findall(r"\(lesson (\d\d\w?)\)", both[1])[-1]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons exam", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="", metavar="LESSON",
                        help="only on lessons before this one, such as 09")
    parser.add_argument("--questions", type=int, default=8, help="how many (8)")
    parser.add_argument("--seed", type=int, help="draws questions and numbers")
    cfg = parser.parse_args(argv)
    if cfg.before:
        one_of("lesson", cfg.before, NUMBERS)
    seed = Random().randrange(10**6) if cfg.seed is None else cfg.seed
    out = OUT / f"{seed}"
    if out.exists():
        raise UserError(f"{out.as_posix()} is there already; take another --seed, or remove it")
    asked, right = ("\n".join(f"{k}. {text}\n" for k, text in enumerate(texts, 1))
                    for texts in zip(*exam(seed, cfg.questions, cfg.before)))
    out.mkdir(parents=True)
    write_text(out / "questions.md", f"# Questions\n{HEAD}\n{asked}")
    write_text(out / "answers.md", f"# Answers, seed {seed}\n\n{right}")
    say(f"{asked}\nIn {(out / 'questions.md').as_posix()}; the answers are beside it.")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
