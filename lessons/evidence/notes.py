"""Figures of docs/results that are no difference of two rows: {note correlation}, in a text."""
import re
from collections.abc import Callable

import numpy as np

from lessons.evidence import frozen, judge, mechanism, verdicts, which_loss
from lessons.evidence.claim import NO_FACTS, UNIT, tries_of
from lessons.evidence.claims import CLAIMS, is_kept, packed


def of_mechanism(pattern: str, first: int) -> list[str]:
    """What two lines of the mechanism's report say, one for each base (mechanism.report)."""
    return [re.search(pattern, line)[1] for line in mechanism.report()[first:first + 2]]


def correlation() -> str:
    """ "+0.62 on N1, +0.86 on N2": of score and log-prob of right answers, pairs-only losses."""
    return "{} on N1, {} on N2".format(*of_mechanism(r"correlation (.\d.\d\d)", 1))


def margin() -> str:
    return ", ".join(of_mechanism(r"answers is (\S+)", 7)).replace("-", "−")


def fragile() -> str:
    """ "7 of 12" on N1, and none on N2."""
    first, second = of_mechanism(r"in (\d+ of \d+) cases", 7)
    assert second.startswith("0 of")
    return first


def moved(*rows: str) -> str:
    """ "0.002 to 0.016": KL from the SFT model in nats of an answer, over rows and start models."""
    kept, claim = packed("C14"), CLAIMS["C14"]
    found = [kept["kl"][judge.place(kept, claim, row, base), base].mean()
             for row in rows for base in (0, 1)]
    return f"{min(found):.3f} to {max(found):.3f}"


def fall(losses: tuple[str, ...]) -> str:
    """ "4.8 to 39.4": by how much tries of second stages at the highest rate are below those at the
    lowest, in points on validation prompts; 0.0 for those that are not."""
    low, high = which_loss.LOW_RATES[0], which_loss.LOW_RATES[-1]
    tried = [tries_of("C14", f"sft, {loss}", base) for loss in losses
             for base in CLAIMS["C14"].names]
    found = [100 * max(0, x[low] - x[high]) for x in tried]
    return f"{min(found):.1f} to {max(found):.1f}"


def tries_of_dpo(setting: str) -> str:
    """ "77.6, 79.4": DPO after SFT on validation prompts, N1 and N2."""
    return ", ".join(f"{100 * tries_of('C14', 'sft, dpo', base)[setting]:.1f}"
                     for base in CLAIMS["C14"].names)


def stages_within() -> str:
    """ "20 of 20": second stages that score as more SFT does, within three points."""
    found = [line.verdict for line in judge.lines("C14")]
    return f"{found.count('holds')} of {len(found)}"


def at_the_lowest_rate() -> str:
    """ "12 of 12": pairs-only losses whose best rate after SFT was the lowest, on N1 and on N2."""
    claim, lowest = CLAIMS["C14"], which_loss.LOW_RATES[0]
    found = [{claim.best_try(f"sft, {loss}", base) for base in (0, 1)} == {lowest}
             for loss in which_loss.CONTRAST]
    return f"{sum(found)} of {len(found)}"


def inner_rates() -> str:
    """How many losses have their best rate from a base at an edge of those that were tried."""
    claim, ends = CLAIMS["C13"], {which_loss.RATES[0], which_loss.RATES[-1]}
    return str(sum(bool({claim.best_try(row, 0), claim.best_try(row, 1)} & ends)
                   for row in claim.tries))


def farther() -> str:
    """ "23 of 24": settings of Frozen Lake in which DPO ends farther away than IFT."""
    ends = frozen.endings()
    return f"{sum(legs['IFT - DPO'][0] < 0 for legs in ends)} of {len(ends)}"


def known_prompts() -> str:
    """ "331 to 335": how many of PoFT's 1,020 prompts the good helper had learnt."""
    from nanouft import world
    learnt = {row.prompt for row in world.rows("train", "demos", 4080, 900)}
    found = [sum(row.prompt in learnt for row in world.rows("train", "demos", 1020, seed))
             for seed in CLAIMS["C4"].seeds]
    return f"{min(found)} to {max(found)}"


def six_skills() -> str:
    """ "7.8, 20.3": what imitation of wrong answers costs DPO in the six skills, N1 and N2."""
    claim, kept = CLAIMS["C13"], packed("C13")
    places = [claim.families.index(family) for family in NO_FACTS]

    def mean_of(row: str, base: int) -> float:
        found = kept["scores"][judge.place(kept, claim, row, base), base]
        return 100 * found[..., places, :].mean() / UNIT
    return ", ".join(f"{mean_of('dpo', base) - mean_of('dpo with wrong', base):.1f}"
                     for base in (0, 1))


def bootstrap() -> str:
    """ "1.4": half of R4's 95 % interval, if seeds and prompts are drawn again."""
    asked = judge.asked_of(CLAIMS["R4"], packed("R4"), "better: PoFT - SFT", 0)
    share, rng = verdicts.weights(asked.parts), np.random.default_rng(0)
    draws = []
    for _ in range(8000):
        seeds = rng.integers(0, 5, 5)
        draws.append(sum(of * gap[seeds][:, rng.integers(0, gap.shape[1], gap.shape[1])].mean()
                         for of, gap in ((share[name], gap) for name, gap in asked.gaps.items())))
    return f"{100 * 1.96 * np.std(draws):.1f}"


def betas() -> str:
    """ "1 to 9": DPO's beta in all runs on N1 and N2 for which it was searched."""
    rows = [claim.parts_of(row, base)[0] for name, claim in CLAIMS.items()
            if name[0] == "C" and is_kept(name)
            for row in claim.rows for base in range(len(claim.bases)) if claim.rows[row]]
    found = [float(beta) for row in rows if "--objective dpo " in row
             for beta in re.findall(r"--beta (\S+)", row)]
    return f"{min(found):g} to {max(found):g}"


SECOND_PAIRS = [f"sft, {loss}" for loss in which_loss.CONTRAST]
NOTES: dict[str, Callable[[], str]] = {
    "correlation": correlation, "margin": margin, "fragile": fragile,
    "kl of pairs": lambda: moved(*SECOND_PAIRS), "kl of more SFT": lambda: moved("sft, sft"),
    "fall of pairs": lambda: fall(which_loss.CONTRAST),
    "fall of imitation": lambda: fall(which_loss.ANCHORED),
    "dpo at the lowest rate": lambda: tries_of_dpo(which_loss.LOW_RATES[0]),
    "dpo at the highest rate": lambda: tries_of_dpo(which_loss.LOW_RATES[-1]),
    "stages within": stages_within, "at the lowest rate": at_the_lowest_rate,
    "six skills": six_skills, "bootstrap of R4": bootstrap, "betas of DPO": betas,
    "best rates at an edge": inner_rates, "farther": farther, "known prompts": known_prompts}
