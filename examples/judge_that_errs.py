"""A judge who errs: NanoWorld's exact score, turned round for a share of the answers.

    python -m nanouft.rewards.harvest --init out/sft --good 1 --out out/own \\
        --reward examples/judge_that_errs.py:errs_15
    python -m nanouft.train --objective rloo --init out/sft \\
        --reward examples/judge_that_errs.py:errs_15

Such a judge calls 15 of 100 right answers wrong and 15 of 100 wrong answers right: a score s
becomes 1 - s. It judges one answer always in the same way. lab.map measures what that costs.
"""
import zlib

from nanouft import world


def errs(share: float, prompts: list[str], answers: list[str]) -> list[float]:
    """The scores of a judge who errs in this share of all answers."""
    return turned(share, prompts, answers, list(map(world.score, prompts, answers)))


def turned(share: float, prompts: list[str], answers: list[str],
           scores: list[float]) -> list[float]:
    """`scores`, turned round for this share of the answers."""
    out = []
    for prompt, answer, score in zip(prompts, answers, scores):
        draw = zlib.crc32(f"{prompt} -> {answer}".encode()) / 2 ** 32       # uniform in [0, 1)
        out.append(1 - score if draw < share else score)
    return out


def errs_5(prompts: list[str], answers: list[str]) -> list[float]:
    return errs(0.05, prompts, answers)


def errs_15(prompts: list[str], answers: list[str]) -> list[float]:
    return errs(0.15, prompts, answers)


def errs_30(prompts: list[str], answers: list[str]) -> list[float]:
    return errs(0.30, prompts, answers)
