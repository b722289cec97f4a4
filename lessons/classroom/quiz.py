"""A short quiz: three questions of earlier lessons come back with new numbers.

    python -m lessons quiz 09                       # before lesson 09; prints the seed that it drew
    python -m lessons quiz 09 --seed 5 --answers    # the same questions with their answers

What one recalls after some days stays longer than what one reads twice. A pocket calculator is
enough. The questions of lessons 06 and later, but for 12b, are those of the exam; the losses of the
project compute their answers.
"""
import argparse
import re
import sys
from random import Random

import torch

from lessons.classroom import exam
from lessons.classroom.exam import answers, listing, loss_and_pushes, sample
from lessons.lesson_list import NUMBERS
from nanouft.objectives.on_policy import clip_ratio
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import say

MANY = 3


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


def slopes(rng: Random) -> tuple[str, str]:
    a, b = rng.choice([(5, 3), (6, 1), (4, 2), (7, 2)])
    z = torch.tensor([a, b, 10 - a - b]).div(10).log()
    slope = torch.autograd.functional.jacobian(lambda z: z.softmax(0), z)[0]
    return (f"A policy takes three arrows with the probabilities 0.{a}, 0.{b} and "
            f"0.{10 - a - b}. What are the derivatives of the first with respect to the three "
            "logits? What does imitation change in a cell where the demonstrator never stood, if "
            "the policy is a table?",
            f"{listing(slope, '+.2f')}. Nothing (lesson 03).")


def path(rng: Random) -> tuple[str, str]:
    chances = [x / 10 for x in sample(rng, 4, 9, 3)]
    whole = torch.tensor(chances).prod().item()
    mean = torch.tensor(chances).mean().item()
    return (f"In the demonstrator's three cells a policy makes the right move with the chances "
            f"{listing(chances, 'g')}. How likely is it to walk the whole path, and what is SFT's "
            "mean chance of a right move? Which of the two can be too high for walks of its own?",
            f"{whole:.3f} and {mean:.3f}. The mean: by itself it also stands in cells where it has "
            "practised less (lesson 05).")


def old_answer(rng: Random) -> tuple[str, str]:
    nats, A = rng.choice([-0.7, -0.4, 0.4, 0.7]), rng.choice([-1.5, -0.5, 0.5, 1.5])
    rho = torch.tensor(nats).exp().requires_grad_()
    clip_ratio(rho, torch.tensor(A), 0.2, 0.2).backward()
    push = 0.0 - (rho.grad * rho).item()
    how = "more" if nats > 0 else "less"
    return (f"A token of an old answer has become {abs(nats):g} nats {how} likely. Its advantage "
            f"is {A:g}. Give its ratio, and the push of GRPO with the clip 0.2. When is it 0?",
            f"{rho.item():.3f} and {push:+.3f}. If the ratio has left 0.8 to 1.2 in the direction "
            "of the push (lesson 12b).")


QUESTIONS = (first_push, attention, two_means, slopes, path, old_answer, exam.ift, exam.dpo,
             exam.una, exam.poft, exam.group, exam.seeds, exam.critic)


def quiz(lesson: str, seed: int) -> list[tuple[str, str]]:
    """Three questions of lessons before this one, in the order of the lessons, with answers."""
    rng = Random(seed)
    asked = [question(rng) for question in QUESTIONS]
    earlier = [both for both in asked if lesson_of(both) < lesson]
    if len(earlier) < MANY:
        raise UserError(f"a quiz needs {MANY} earlier lessons: ask for lesson 03 or a later one")
    return sorted(rng.sample(earlier, MANY), key=lesson_of)


def lesson_of(both: tuple[str, str]) -> str:
    """The lesson that an answer names at its end."""
    return re.findall(r"\(lesson (\d\d\w?)\)", both[1])[-1]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons quiz", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", help="the lesson that you are about to begin, such as 09")
    parser.add_argument("--seed", type=int, help="draws questions and numbers")
    parser.add_argument("--answers", action="store_true", help="print the answers too")
    args = parser.parse_args(argv)
    one_of("lesson", args.lesson, NUMBERS)
    if args.answers and args.seed is None:
        raise UserError("--answers needs the --seed of the quiz that you have answered")
    seed = Random().randrange(1000) if args.seed is None else args.seed
    for k, (question, answer) in enumerate(quiz(args.lesson, seed), 1):
        say(f"{k}. {question}")
        say(f"   {answer}\n" if args.answers else "")
    if not args.answers:
        say(f"The answers: python -m lessons quiz {args.lesson} --seed {seed} --answers")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
