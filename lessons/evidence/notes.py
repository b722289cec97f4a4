"""Figures of docs/results that are no difference of two rows: {note correlation}, in a text."""
import csv
import gzip
import re
from collections.abc import Callable
from functools import cache, partial
from statistics import NormalDist

import numpy as np

from lessons.evidence import frozen, judge, mechanism, searches, stats, verdicts, which_loss
from lessons.evidence.claim import FAMILIES, NO_FACTS, RESULTS, UNIT, tries_of
from lessons.evidence.claims import ALIGNED, CLAIMS, is_kept, load_packed

HELPERS_ROWS = int(re.search(r"--rows (\d+)", ALIGNED)[1])
OWN_ROWS = 1020                         # of PoFT and SFT: what nanouft.train reads by itself


def of_mechanism(pattern: str, first: int) -> list[str]:
    """What two lines of the mechanism's report say, one for each base (mechanism.report)."""
    return [re.search(pattern, line)[1] for line in mechanism.report()[first:first + 2]]


def correlation() -> str:
    """ "+0.62 on N1, +0.86 on N2": of score and log-prob of right answers, pairs-only losses."""
    return "{} on N1, {} on N2".format(*of_mechanism(r"correlation (.\d.\d\d)", 1))


def fragile() -> str:
    """ "7 of 12" on N1, and none on N2."""
    first, second = of_mechanism(r"in (\d+ of \d+) cases", 7)
    assert second.startswith("0 of")
    return first


def change_of(*rows: str) -> str:
    """ "0.002 to 0.016": KL from the SFT model in nats of an answer, over rows and start models."""
    kept, claim = load_packed("C14"), CLAIMS["C14"]
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


def stages_within() -> str:
    """ "20 of 20": second stages that score as more SFT does, within three points."""
    found = [line.verdict for line in judge.lines("C14")]
    return f"{found.count('holds')} of {len(found)}"


def has_lowest_rate(loss: str) -> tuple[bool, ...]:
    """Was the lowest rate the best one after SFT, on N1 and on N2?"""
    claim = CLAIMS["C14"]
    return tuple(claim.best_try(f"sft, {loss}", base) == which_loss.LOW_RATES[0]
                 for base in (0, 1))


def at_the_lowest_rate() -> str:
    """ "12 of 12": pairs-only losses whose best rate after SFT was the lowest, on N1 and on N2."""
    found = [all(has_lowest_rate(loss)) for loss in which_loss.CONTRAST]
    return f"{sum(found)} of {len(found)}"


def lead_of_imitation() -> str:
    """ "5 to 29": from a base, the least and the largest lead of a loss that imitates right answers
    over one that only compares pairs, on N1 or N2."""
    claim, kept = CLAIMS["C13"], load_packed("C13")
    imitate = which_loss.IMITATE + which_loss.LATER + which_loss.ANCHORED
    leads = []
    for base in (0, 1):
        above, below = ([100 * judge.score_of(claim, kept, loss, base)[0] for loss in losses]
                        for losses in (imitate, which_loss.CONTRAST))
        leads += [min(above) - max(below), max(above) - min(below)]
    return f"{min(leads):.0f} to {max(leads):.0f}"


def against_sft(losses: tuple[str, ...]) -> list[verdicts.Line]:
    """C20's questions of SFT's lead over these losses, with both settings of each searched."""
    asked = {f"better: sft - {loss}" for loss in losses}
    return [line for line in judge.lines("C20") if CLAIMS["C20"].questions[line.question] in asked]


def behind_sft(losses: tuple[str, ...]) -> str:
    """ "12 of 12": losses behind SFT with both settings searched."""
    found = [line.verdict for line in against_sft(losses)]
    return f"{found.count('holds')} of {len(found)}"


def lead_of_sft(losses: tuple[str, ...]) -> str:
    """ "6 to 22": SFT's least and largest lead over one of them, on N1 or N2."""
    leads = [100 * finding.mean for line in against_sft(losses) for finding in line.findings]
    return f"{min(leads):.0f} to {max(leads):.0f}"


def weights_at_an_edge() -> str:
    """ "14 of 42": best values of a loss's own weight that are the lowest or highest tried."""
    claim, found = CLAIMS["C20"], []
    for loss, (_, *values) in which_loss.BETA_TRIES.items():
        best = [claim.best_try(loss, base).split()[-1] for base in (0, 1)]
        found += [value in (values[0], values[-1]) for value in best]
    return f"{sum(found)} of {len(found)}"


def rates_at_an_edge() -> str:
    """ "was never the lowest or the highest": the best rate from a base, of all losses."""
    claim, ends = CLAIMS["C13"], {which_loss.RATES[0], which_loss.RATES[-1]}
    count = sum(bool({claim.best_try(row, 0), claim.best_try(row, 1)} & ends)
                for row in claim.tries)
    return f"was {'never ' * (not count)}the lowest or the highest" + f" for {count}" * bool(count)


def farther() -> str:
    """ "23 of 24": settings of Frozen Lake in which DPO ends farther away than IFT."""
    ends = frozen.endings()
    return f"{sum(legs['IFT - DPO'][0] < 0 for legs in ends)} of {len(ends)}"


def known_prompts() -> str:
    """ "331 to 335": how many of PoFT's prompts the good helper had learned."""
    from nanouft import world
    learned = {row.prompt for row in world.rows("train", "demos", HELPERS_ROWS, 900)}
    found = [sum(row.prompt in learned for row in world.rows("train", "demos", OWN_ROWS, seed))
             for seed in CLAIMS["C4"].seeds]
    return f"{min(found)} to {max(found)}"


def helpers_score() -> str:
    """ "79.9": one helper serves N1 and N2."""
    claim, kept = CLAIMS["C11"], load_packed("C11")
    scores = {f"{100 * judge.score_of(claim, kept, 'aligned model', base)[0]:.1f}"
              for base in (0, 1)}
    return " and ".join(sorted(scores))


def lead_by_task(base: int) -> dict[str, float]:
    """{task: by how much SFT is ahead of DPO in it}, from a base."""
    claim, kept = CLAIMS["C13"], load_packed("C13")
    sft, dpo = (kept["scores"][judge.place(kept, claim, loss, base), base].mean((0, 2)) / UNIT
                for loss in ("sft", "dpo"))
    return dict(zip(claim.families, sft - dpo))


def share(part: tuple[str, ...], whole: tuple[str, ...]) -> str:
    """ "51 and 53": how many per cent of SFT's lead over DPO in these tasks come from a part."""
    leads = [lead_by_task(base) for base in (0, 1)]
    return " and ".join(f"{100 * sum(map(lead.get, part)) / sum(map(lead.get, whole)):.0f}"
                        for lead in leads)


def searched_on_n1() -> str:
    """ "C1, C2 and C4": runs whose settings were searched on N1 and not on N2."""
    with gzip.open(RESULTS / "searches.csv.gz", "rt", encoding="utf-8") as file:
        bases = {(line["claim"], line["base"]) for line in csv.DictReader(file)}
    found = sorted(name for name, base in bases if base == "base" and (name, "base-1") not in bases)
    return f"{', '.join(found[:-1])} and {found[-1]}"


def closed_by_the_blend() -> str:
    """ "4 and 5": how many per cent of SFT's error IFT's blend (lam .2) removes, word by word."""
    error, nearer, *_ = judge.lines("C7")
    return " and ".join(f"{100 * of_blend.mean / of_sft.mean:.0f}"
                        for of_sft, of_blend in zip(error.findings, nearer.findings))


@cache
def spread() -> float:
    """Of PoFT's lead over SFT in R4: its standard deviation, if seeds and prompts are drawn."""
    asked = judge.asked_of(CLAIMS["R4"], load_packed("R4"), "better: PoFT - SFT", 0)
    shares, rng = verdicts.weights(asked.parts), np.random.default_rng(0)
    draws = []
    for _ in range(8000):
        seeds = rng.integers(0, 5, 5)
        draws.append(sum(of * gap[seeds][:, rng.integers(0, gap.shape[1], gap.shape[1])].mean()
                         for of, gap in ((shares[name], gap) for name, gap in asked.gaps.items())))
    return 100 * float(np.std(draws))


def bootstrap(looks: int) -> str:
    """ "1.4": half of an interval by these draws, if so many questions share its 5 %."""
    return f"{NormalDist().inv_cdf(1 - 0.025 / looks) * spread():.1f}"


def corrected(name: str, formula: str) -> str:
    """ "1.6": half of the interval of a question that shares its 5 % with all of its run, on the
    only model."""
    asked = judge.asked_of(CLAIMS[name], load_packed(name), formula, 0)
    _, variance, freedom = verdicts.moments(asked)
    return f"{100 * stats.half_width(variance, freedom, len(CLAIMS[name].questions)):.1f}"


def betas() -> str:
    """ "1 to 9": DPO's beta in all runs on N1 and N2 for which it was searched."""
    rows = [claim.parts_of(row, base)[0] for name, claim in CLAIMS.items()
            if name[0] == "C" and is_kept(name)
            for row in claim.rows for base in range(len(claim.bases)) if claim.rows[row]]
    found = [float(beta) for row in rows if "--objective dpo " in row
             for beta in re.findall(r"--beta (\S+)", row)]
    return f"{min(found):g} to {max(found):g}"


def closed_on_the_lake(updates: int, lam: float) -> str:
    """ "9": how many per cent of SFT's gap the blend closes for a policy with a habit (C5)."""
    line = next(line for line in judge.lines("C5") if "Move by move" in line.question
                and line.question.endswith(f"(detour habit, {updates} updates)"))
    shares = re.search(r"0\.2, 0\.5, 1 closes (\S+), (\S+), (\S+)", line.figures)
    return f"{100 * float(shares[3 if lam == 1 else 1]):.0f}"


def settings_of_others() -> str:
    """ "36 to 48": how many settings UFT and the second stages had to choose from in C3b."""
    counts = [searches.count("C3b", row) for row in ("UFT", "A -> DPO", "A -> KTO", "A -> UNA")]
    return f"{min(counts)} to {max(counts)}"


SECOND_PAIRS = [f"sft, {loss}" for loss in which_loss.CONTRAST]
NOTES: dict[str, Callable[[], str]] = {
    "correlation": correlation, "fragile": fragile,
    "kl of pairs": lambda: change_of(*SECOND_PAIRS),
    "kl of imitation": lambda: change_of(*(f"sft, {loss}" for loss in which_loss.ANCHORED)),
    "kl of more SFT": lambda: change_of("sft, sft"),
    "fall of pairs": lambda: fall(which_loss.CONTRAST),
    "fall of imitation": lambda: fall(which_loss.ANCHORED),
    "stages within": stages_within, "at the lowest rate": at_the_lowest_rate,
    "bootstrap of R4": lambda: bootstrap(1),
    "bootstrap of R4, corrected": lambda: bootstrap(len(CLAIMS["R4"].questions)),
    "questions of R4": lambda: str(len(CLAIMS["R4"].questions)),
    "R6 stops, corrected": lambda: corrected("R6", "as good, stops: detached, 256 - SFT, 256"),
    "questions of R6": lambda: str(len(CLAIMS["R6"].questions)),
    "betas of DPO": betas, "best rates at an edge": rates_at_an_edge, "farther": farther,
    "known prompts": known_prompts, "helper's score": helpers_score,
    "helper's rows": lambda: f"{HELPERS_ROWS:,}", "PoFT's rows": lambda: f"{OWN_ROWS:,}",
    "share of honesty and facts": lambda: share(FAMILIES[6:], FAMILIES),
    "share of reversed words": lambda: share(("reverse",), NO_FACTS),
    "closed by the blend": closed_by_the_blend,
    "lead of imitation": lead_of_imitation,
    "searched on N1": searched_on_n1,
    "losses": lambda: str(len(which_loss.FROM_BASE) - 1),           # ts_dpo is in no question
    "rates": lambda: str(len(which_loss.RATES)),
    "second stages": lambda: str(len(which_loss.SECOND)),
    "margin of C14": lambda: f"{100 * stats.LIMITS['within 3'][1]:.0f}",
    "pairs behind SFT": lambda: behind_sft(which_loss.CONTRAST),
    "judged behind SFT": lambda: behind_sft(which_loss.GRADED),
    "lead of SFT over pairs": lambda: lead_of_sft(which_loss.CONTRAST),
    "lead of SFT over judged": lambda: lead_of_sft(which_loss.GRADED),
    "losses of C20": lambda: str(len(which_loss.BETA_TRIES)),
    "weights at an edge": weights_at_an_edge,
    "settings of C20": lambda: str(len(which_loss.SIXTEEN_RATES)),
    "settings of SFT in C3b": lambda: str(searches.count("C3b", "A and best B")),
    "settings of others in C3b": settings_of_others,
    "settings of UNA": lambda: str(searches.count("C6", "UNA")),
    "settings of DPO": lambda: str(searches.count("C6", "DPO")),
    "settings of KTO": lambda: str(searches.count("C6", "KTO")),
    **{f"lake closes {lam} after {n}": partial(closed_on_the_lake, n, lam)
       for lam in (0.2, 1) for n in (0, 2, 5, 10, 20)},
    "passes of UNA": lambda: re.search(r"--epochs (\d+)", CLAIMS["C6"].rows["UNA"])[1]}
