"""lessons/evidence: docs/claims.md says what the command prints, and the interval is right."""
import math
import re
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

from lessons.evidence import (
    cells,
    harvest,
    judge,
    keep,
    mechanism,
    papers,
    readme,
    reads,
    searches,
    stats,
    verdicts,
    which_loss,
    write,
)
from lessons.evidence.__main__ import main
from lessons.evidence.claim import SKILLS, UNIT, read_tries, tries_of
from lessons.evidence.claims import CLAIMS, packed
from lessons.evidence.reported import REPORTED
from lessons.marks import between
from nanouft import world
from nanouft.objectives.ift import IFT
from nanouft.plumbing.errors import UserError
from nanouft.run.plan import USUAL
from nanouft.run.settings import Train

PAGE, README = (file.read_text(encoding="utf-8") for file in (write.PAGE, write.README))
FINDINGS = (write.ROOT / "docs" / "findings.md").read_text(encoding="utf-8")


def sections(page: str) -> dict[str, str]:
    """{heading: its text without tables}"""
    prose = re.sub(r"^\|.*\n", "", page, flags=re.M)
    found = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", prose, re.M | re.S)
    return {"Head": prose.partition("\n## ")[0], **dict(found)}


SECTIONS = {f"{file}: {name}": text for file, page in (("claims", PAGE), ("findings", FINDINGS))
            for name, text in sections(page).items()}
SECTIONS["README"] = README.partition("matters, and when?\n")[2].partition("\n## ")[0]


# ---- the page ------------------------------------------------------------------------------------
def test_what_the_command_writes_stands_on_the_pages():
    assert write.ALL.read_text(encoding="utf-8") == write.all_questions()
    assert between("papers").search(README)[0] == write.in_short()
    for paper in papers.CARRY:
        assert between(f"rows of {paper}").search(PAGE)[0] == write.carrying(paper)
    for paper in REPORTED:
        assert between(f"reported by {paper}").search(PAGE)[0] == write.reported(paper)


def test_every_claim_is_told_in_a_section():
    told = set(re.findall(r"\b[CR]\d+\w?\b", " ".join(SECTIONS.values())))
    assert told >= set(judge.RUN) - {"R1s"}          # R1s asks the rows of R1 how many stop


@pytest.mark.parametrize("paper", readme.IN_SHORT)
def test_what_readme_says_of_a_paper_is_its_verdict_with_its_condition(paper):
    short = readme.IN_SHORT[paper]
    for key, verdict in short.verdicts.items():
        assert write.all_lines()[key].verdict == verdict, key
    assert set(re.findall(r"{[-+]?([^}]+)}", short.text)) <= set(short.verdicts)
    for words in short.conditions:
        assert words in short.text


# ---- figures in prose: of which question, and with which sign? -----------------------------------
mechanism_report = cache(mechanism.report)


def findings(key: str) -> tuple[verdicts.Finding, ...]:
    """Of a question, one for each start model."""
    return write.all_lines()[key].findings


def without(key: str, form: str = "{:+.1f}", sign: int = 1) -> str:
    """ "-0.0 and +0.6": the difference without its largest family."""
    return " and ".join(form.format(sign * 100 * x.without) for x in findings(key))


def premise(name: str) -> str:
    return judge.premises(name)[0].partition(": ")[2]


def share(key: str, what: str = "ended") -> str:
    """ "95.1 and 95.4": how many answers of a row stop, or (`what`) its score in one family."""
    name, row = key.split(" ", 1)
    kept, claim = packed(name), CLAIMS[name]
    x = kept[what] if what in kept else kept["scores"][..., claim.families.index(what), :] / UNIT
    return " and ".join(f"{100 * x[judge.place(kept, claim, row, base), base].mean():.1f}"
                        for base in range(len(claim.bases)))


def mean(key: str) -> str:
    """ "63.1 and 60.2": the score of a row on each base."""
    name, row = key.split(" ", 1)
    return " and ".join(f"{100 * judge.score_of(CLAIMS[name], packed(name), row, base)[0]:.1f}"
                        for base in range(len(CLAIMS[name].bases)))


def steps(key: str) -> str:
    """ "107 and 214": how many steps a row takes on each base, from NanoWorld's rows."""
    name, row = key.split(" ", 1)
    out = []
    for base in range(len(CLAIMS[name].bases)):
        words = CLAIMS[name].parts_of(row, base)[0].split()
        chosen = dict(zip(words[::2], words[1::2]))
        rows = float(chosen.get("--epochs", 3)) * int(chosen.get("--rows", Train.rows))
        out.append(str(round(rows / int(chosen.get("--batch-size", USUAL.batch_size)))))
    return " and ".join(dict.fromkeys(out))


def loss(key: str) -> str:
    """ "0.0 ± 0.5 points on the first start model, ... and 1.3 ± 0.8": losses, of two bases."""
    first, second = (f"{100 * abs(x.mean):.1f} ± {100 * x.half:.1f}" for x in findings(key))
    assert all(x.mean > -0.0005 for x in findings(key))        # a loss, or 0.0
    return (f"{first} points on the first start model, where there was nothing to prevent, and "
            f"{second} on the second")


def example(which: str) -> str:
    """Of a hard word (loss 2) and an end (0, then .1), as the released code weighs with gamma."""
    def weights(hard: float, end: float) -> np.ndarray:     # a loss and the later ones
        return np.array([hard + IFT.gamma * end, end])

    def loss(hard: float, end: float) -> float:
        w = weights(hard, end)
        return (np.array([hard, end]) * w / w.mean()).sum()

    assert loss(2, 0) == 4
    w = weights(2, 0.1)
    found = {"weights": w, "mean": [w.mean()], "divided": w[:1] / w.mean(), "loss": [loss(2, 0.1)],
             "other": [loss(1.9, 0)]}
    return " and ".join(f"{w:.1f}".removeprefix("0") for w in found[which])


def learnt_before(rows: int, helper: tuple[int, int], name: str) -> str:
    """ "331 to 335": how many prompts of a claim's rows its helper (rows, seed) learnt."""
    learnt = {row.prompt for row in world.rows("train", "demos", *helper)}
    found = []
    for seed in CLAIMS[name].seeds:
        asked = world.rows("train", "demos", rows, seed)
        found.append(sum(row.prompt in learnt for row in asked))
        assert all(row.prompt in learnt for row in asked if row.family in ("truth", "fact"))
    return f"{min(found)} to {max(found)}"


def two_lengths(key: str) -> str:
    """ "107 steps of 16 rows on the first start model and 214 of 8 rows on the second" """
    name, row = key.split(" ", 1)
    (many, few), sizes = steps(key).split(" and "), []
    for base in range(2):
        words = CLAIMS[name].parts_of(row, base)[0].split()
        sizes.append(words[words.index("--batch-size") + 1])
    return (f"{many} steps of {sizes[0]} rows on the first start model and {few} of {sizes[1]} "
            "rows on the second")


def gain_and_loss(key: str) -> str:
    """ "9.1 points to DPO there, and on ... still cost 8.5": without `unknown`, the largest."""
    first, second = (100 * x.without for x in findings(key))
    assert {x.largest for x in findings(key)} == {"unknown"} and first > 0 > second
    return (f"{first:.1f} points to DPO there, and on the second start model it would still cost "
            f"{-second:.1f}")


def in_six_skills(key: str) -> str:
    """ "7.8 and 20.3": what the second row gives up in C13's six skills, new combinations too."""
    claim, kept = CLAIMS["C13"], packed("C13")
    places = [claim.families.index(family) for family in (*SKILLS, "rules_new")]

    def mean_of(row: str, base: int) -> float:
        found = kept["scores"][judge.place(kept, claim, row, base), base]
        return 100 * found[..., places, :].mean() / UNIT

    first, second = key.split(" - ")
    return " and ".join(f"{mean_of(second, b) - mean_of(first, b):.1f}" for b in (0, 1))


def bootstrapped(key: str) -> str:
    """ "1.4": half of a question's 95 % interval, if seeds and prompts are drawn again."""
    name, formula = key.split(" ", 1)
    asked = judge.asked_of(CLAIMS[name], packed(name), formula, 0)
    share, rng = verdicts.weights(asked.parts), np.random.default_rng(0)

    def again(gap: np.ndarray) -> float:
        return gap[drawn][:, rng.integers(0, gap.shape[1], gap.shape[1])].mean()

    draws = []
    for _ in range(8000):
        drawn = rng.integers(0, 5, 5)                   # of five seeds
        draws.append(sum(share[family] * again(gap) for family, gap in asked.gaps.items()))
    return f"{100 * 1.96 * np.std(draws):.1f}"


def betas_chosen_for_dpo() -> str:
    """ "1 to 9": in all experiments on our start models that searched it."""
    rows = [claim.parts_of(row, base)[0] for name, claim in CLAIMS.items() if name[0] == "C"
            for row in claim.rows for base in range(len(claim.bases)) if claim.rows[row]]
    found = [float(beta) for row in rows if "--objective dpo " in row
             for beta in re.findall(r"--beta (\S+)", row)]
    assert found
    return f"{min(found):g} to {max(found):g}"


IMITATING = which_loss.IMITATE + which_loss.LATER + which_loss.ANCHORED
ONLY_COMPARE = tuple(loss for loss in which_loss.CONTRAST if loss not in ("apo", "nca", "sppo"))


def extreme(of, losses: tuple[str, ...]) -> list[str]:
    """The lowest (or highest) score of these losses from a base, on each start model."""
    kept, claim = packed("C13"), CLAIMS["C13"]
    return [f"{100 * of(judge.score_of(claim, kept, loss, base)[0] for loss in losses):.1f}"
            for base in (0, 1)]


def lowest(losses: tuple[str, ...], points: str = "points", model: str = "start model") -> str:
    first, second = extreme(min, losses)
    return f"{first} {points} on the first {model} and {second} on the second"


def highest(losses: tuple[str, ...]) -> str:
    """ "68.1 and 71.7" """
    return " and ".join(extreme(max, losses))


def scores(row: str) -> str:
    """ "61.9 and 65.0" """
    kept, claim = packed("C13"), CLAIMS["C13"]
    return " and ".join(f"{100 * judge.score_of(claim, kept, row, base)[0]:.1f}" for base in (0, 1))


def logp(row: str) -> str:
    """ "-0.87 and -0.71": of right answers, in nats per token."""
    kept = packed("C13")
    found = [mechanism.points(kept, row, base)[1].mean() for base in (0, 1)]
    return " and ".join(f"{x:.2f}" for x in found)


SECOND_STAGES = [f"sft, {loss}" for loss in which_loss.SECOND]


def part(found: int, of: int) -> str:
    return f"all {of}" if found == of else f"{found} of the {of}"


def share_of_verdicts(verdict: str) -> str:
    """ "All 20": second stages with this verdict."""
    found = [line.verdict for line in judge.lines("C14")]
    assert len(found) == len(SECOND_STAGES)
    return part(found.count(verdict), len(found)).capitalize()


def at_the_lowest_rate(losses: tuple[str, ...]) -> str:
    """ "all 12": losses whose best rate after SFT was the lowest one, on both models."""
    claim, lowest = CLAIMS["C14"], which_loss.LOW_RATES[0]
    found = [{claim.best_try(f"sft, {loss}", base) for base in (0, 1)} == {lowest}
             for loss in losses]
    return part(sum(found), len(found))


def moved(*rows: str) -> str:
    """ "0.002 to 0.008": KL from the SFT model in nats of an answer, over rows and start models."""
    kept, claim = packed("C14"), CLAIMS["C14"]
    found = [kept["kl"][judge.place(kept, claim, row, base), base].mean()
             for row in rows for base in (0, 1)]
    low, high = f"{min(found):.3f}", f"{max(found):.3f}"
    return f"{low} to {high}"


def tried(name: str, row: str, setting: str, *families: str) -> str:
    """ "55.2 and 53.2": scores of a try on validation prompts, or means of these families."""
    found = [np.mean([float(x[family]) for family in families or ("score",)])
             for x in read_tries() if (x["claim"], x["row"], x["setting"]) == (name, row, setting)]
    assert found
    return " and ".join(f"{100 * x:.1f}" for x in found)


def mechanism_says(pattern: str, first: int = 1) -> str:
    """What two lines of the mechanism say of the contrast losses, one for each base."""
    return " and ".join(re.search(pattern, line)[1]
                        for line in mechanism_report()[first:first + 2])


def fragile() -> str:
    """ "7 of 12" on the first start model, and none on the second."""
    found = [re.search(r"in (\d+ of \d+) cases", line)[1] for line in mechanism_report()[7:9]]
    assert found[1].startswith("0 of")
    return found[0]


def stops_in_skills(row: str) -> str:
    kept, claim = packed("C13"), CLAIMS["C13"]
    skills = [claim.families.index(family) for family in SKILLS]
    return " and ".join(
        f"{100 * kept['ended'][judge.place(kept, claim, row, b), b][:, skills].mean():.1f}"
        for b in (0, 1))


def lost(loss: str) -> list[float]:
    """By how many points a second stage's try at the highest rate is below that at the lowest."""
    low, high = which_loss.LOW_RATES[0], which_loss.LOW_RATES[-1]
    found = [tries_of("C14", f"sft, {loss}", base) for base in CLAIMS["C14"].names]
    return [100 * (x[low] - x[high]) for x in found]


def fall(loss: str) -> str:
    return " and ".join(f"{x:.1f}" for x in lost(loss))


def falls(losses: tuple[str, ...]) -> str:
    found = [x for loss in losses for x in lost(loss)]
    return f"{min(found):.1f} to {max(found):.1f}"


def best_rates_lie_inside() -> str:
    """Words without a figure: a test of them."""
    claim, ends = CLAIMS["C13"], {which_loss.RATES[0], which_loss.RATES[-1]}
    for row in claim.tries:
        assert not {claim.best_try(row, 0), claim.best_try(row, 1)} & ends, row
    return "for none of them the best was the lowest or the highest"


TOLD = {    # page and section: sentences of it, with figures as in README's (write.told)
    "claims: IFT": [
        "better, by {C7 Step by step, the blend (lam .2) lies nearer to what the model does} "
        "points if a fifth of the blend is the model's guess",
        "the detached form is {-R1 as good: detached - SFT} points behind SFT at the rate",
        "SFT followed by DPO is {-C1c not inferior: detached - SFT -> DPO} points ahead"],
    "claims: UFT": [
        "UFT is {R7 better: UFT - A -> DPO} points ahead of the chain with DPO. Nearly",
        "differs from the chain with DPO by {+R7 better: A -> UNA - A -> DPO} as well"],
    "claims: UNA": ["UNA with scores is {C6 better: UNA - UNA, cut} points ahead, which is",
                    "with full marks is {-R8 better: UNA - RFT} points ahead of it",
                    "at R8's rate by {+R9 better: UNA, lower rate - UNA, as in R8} points and",
                    "from which it began by {+R9 better: UNA, lower rate - start}.",
                    "the difference is {+R9 better: UNA, balanced - UNA, as in R8}."],
    "findings: IFT": [
        "The released form of IFT loses {-C1 better: released - SFT} points on both start "
        "models",
        "SFT followed by DPO is {-C1c not inferior: detached - SFT -> DPO} points ahead of "
        "detached IFT",
        "which is then {C1d better: detached - released here} points behind the detached one",
        "detached IFT too scores less than at SFT's settings, by {C1d better: detached - "
        "detached there} points",
        "it is only {C1d better: detached there - released} points ahead of the released form",
        "So the larger part of the 4.3 points",
        "SFT's estimate is {C7 Step by step, SFT overestimates what its model does} points too "
        "high",
        "With lam .2, the paper's share of the guess, it lies {C7 Step by step, the blend (lam "
        ".2) lies nearer to what the model does} points nearer than SFT's",
        "where the guess alone is read, it lies {C7 Step by step, the blend (lam 1) lies nearer"
        " to what the model does} nearer",
        "it is {-C9 not inferior: detached 48 - SFT 48} points behind",
        "The scores then differ by {+C9 not inferior: detached 96 - SFT 96}, so that on the "
        "second start model detached IFT may still be more than two points behind",
        "it is {-R1 better: released - SFT} points behind SFT. For",
        "and there it is {-R1 as good: detached - SFT} points behind",
        "the difference is {+R5 as good: detached, 96 - SFT, 96}. That is undecided",
        "most of the {-R1 as good: detached - SFT} points by which detached IFT was behind in "
        "R1 are gone"],
    "findings: UFT": [
        "its steps is still {-C15 not inferior, skills: UFT x4 - chain x1} points of skills",
        "four times as many, UFT is {C15 better, skills: chain x4 - UFT x4} points behind",
        "with the usual steps it is {C15 better, skills: chain x1 - UFT x1}.",
        "is undecided ({+C15 better, skills: UFT x4 - chain x4 - UFT x1 + chain x1}).",
        "from the chain by {+C15 better: UFT x1 - chain x1} with the usual steps",
        "and by {+C15 better: UFT x4 - chain x4} if both",
        "alone is {+C16 better, score in reverse: A alone 1 - UFT 1} points ahead of UFT",
        "as well: SFT is {+C16 better, skills: SFT - UFT 0.1} ahead",
        "a beta of .3 is {C16 better, score in reverse: UFT 0.3 - UFT 1} points ahead of a beta",
        ".1 is {C16 better, score in reverse: UFT 0.1 - UFT 0.3} ahead of .3",
        "alone a beta of .1 is {C16 better, score in reverse: A alone 0.1 - A alone 1} points",
        "SFT is {C16 better, score in reverse: SFT - A alone 1} ahead",
        "Over all a beta of 1 is {C16 better: UFT 1 - UFT 0.3} points ahead of .3",
        "KTO loses {C12 better, skills: A - A -> KTO} points of skills",
        "and UNA {C12 better, skills: A - A -> UNA}, most of them",
        "It lies {-C3 better, skills: UFT - A -> DPO} points behind the chain with DPO",
        "and {-C12 better, skills: UFT - A -> UNA} points behind the chain with UNA. Against",
        "the difference is {+C12 better, skills: UFT - A -> KTO}, and that is undecided",
        "UFT keeps fewer skills, by {-C3 better, skills: UFT - A -> KTO} points",
        "UFT leads SFT followed by UNA by {+C3b better: UFT - A -> UNA} points",
        "is ahead of the chain with DPO by {+C3 better, score in truth: UFT - A -> DPO} points",
        "UFT's difference to the chain with UNA is {+C3b better, score in truth: UFT - A -> "
        "UNA}.",
        "on the best-scored answer to each prompt of B, is {-C3b better: UFT - A and best B} "
        "points ahead of UFT",
        "from the chain with DPO by {+R7 better, skills: UFT - A -> DPO} points and from the chain "
        "with UNA by {+R7 better, skills: UFT - A -> UNA}, and both",
        "than the chain with DPO by {+R7 better, skills: A - A -> DPO} points, about half",
        "and than the chain with UNA by {+R7 better, skills: A - A -> UNA}; had",
        "UFT differs from SFT by {+R7 better, skills: UFT - A}, and in sums by "
        "{+R7 better, score in sum: UFT - A}.",
        "differs from the chain with DPO by {+R7 better: A -> UNA - A -> DPO} as well",
        "UFT is {R7 better: UFT - A -> DPO} points ahead of the chain with DPO, and "
        "{+R7 better: UFT - A -> UNA} ahead"],
    "findings: All losses": [
        "SFT is {C13 better: sft - dpo} points ahead of DPO, each",
        "and reversed words, SFT is {C13 better, skills: sft - dpo} points ahead",
        "added is {C13 better: dose 0.1 - dose 0} points better than DPO",
        "it is {C13 better: dose 1 - dose 0.1} better still",
        "adds {C13 better: dose 10 - dose 1} points more",
        "DPO is {-C13 better: dose 0 - dpo} points below its own best",
        "all of SFT's loss adds {C13 better: dpo with right - dpo} points to DPO",
        "It is then {-C13 better: dpo with right - sft} points *below* SFT",
        "makes DPO {-C13 better: dpo with wrong - dpo} points worse",
        "is {C13 better: dpo with right - dpo with wrong} points better than it",
        "answers DPO is {C13 better: dpo with wrong - base} points above the base",
        "makes DPO {C13 better: dpo with floor - dpo} points better",
        "is {C13 better: dpo with right - dpo with floor} points better than the floor",
        "gain {C13 better, skills: dpo with floor - dpo} points from the floor",
        "and {C13 better, skills: dpo with right - dpo} from full imitation",
        "More SFT itself is worth {+C14 better: sft, sft - sft} points"],
    "claims: All losses": [
        "DPO scores {-C13 better: dpo with wrong - dpo} points less than with none."],
    "README": ["SFT's loss is added to DPO's, DPO gains {C13 better: dpo with right - dpo} points",
               "SFT on the good ones scored {C6 better: RFT - KTO} points more than KTO"],
    "findings: PoFT": [
        "SFT on the likeliest 40 % scored {C11 better: filter .4 - SFT} points more than SFT on"
        " all",
        "SFT on the likeliest 80 % scored {C11 better: filter .8 - SFT} more",
        "as a question, was {+C4 better: SFT, filtered - SFT}.",
        "and it is, by {C4 better: PoFT - SFT - PoFT 0 % + SFT 0 %} points",
        "are {+C4 better: PoFT - SFT} with 40 % wrong",
        "and {+C4 better: PoFT 0 % - SFT 0 %} with none. So",
        "PoFT differs from SFT by {+C4 better: PoFT, weak - SFT}.",
        "SFT on the likeliest 60 % of them is {-C4 better: PoFT - SFT, filtered} points ahead "
        "of PoFT on all",
        "PoFT is not shown to be better than SFT, with {+C4b better: PoFT, filtered - SFT, "
        "filtered}.",
        "if it keeps 40 %, SFT is {C11 better: filter .4 - PoFT} points ahead",
        "if it keeps 80 %, {C11 better: filter .8 - PoFT}.",
        "which is {C11 better: aligned model - PoFT} points more than PoFT",
        "PoFT leads SFT as well, by {+R4 better: PoFT - SFT}.",
        "differs from SFT on all by {+R4 better: SFT, filtered - SFT} points",
        "and PoFT on all from SFT on the filtered ones by {+R4 better: PoFT - SFT, filtered}."],
    "findings: Frozen Lake": [
        "is too high, by {+C5 Move by move, SFT overestimates its policy (detour habit, 5 "
        "updates)} percentage points after the fifth update",
        "off by {+C5 Move by move, SFT overestimates its policy (from scratch, 0 updates)} "
        "before the first update",
        "and it is off by {+C5 Move by move, SFT overestimates its policy (detour habit, 0 "
        "updates)} there",
        "and by {+C5 Move by move, SFT overestimates its policy (from scratch, 2 updates)} "
        "after the second"],
    "findings: UNA": [
        "UNA differs from DPO by {+R8 better: UNA - DPO} and from the model after SFT by "
        "{+R8 better: UNA - start}, both undecided, and SFT is {-R8 better: UNA - RFT} points "
        "ahead of it",
        "So the lower rate differs from R8's by {+R9 better: UNA, lower rate - UNA, as in R8} and "
        "from the model after SFT by {+R9 better: UNA, lower rate - start}, and",
        "from UNA on all of them by {+R9 better: UNA, balanced - UNA, as in R8}.",
        "by {+R9 better, stops: UNA, balanced - UNA, as in R8}, because",
        "which is {+R9 better, stops: UNA, lower rate - UNA, as in R8} against R8's",
        "UNA as in R8 differs from the model after SFT by {+R9 better: UNA, as in R8 - start} "
        "points, and UNA on the balanced answers by {+R9 better: UNA, balanced - start}, so",
        "SFT on the good answers scored {+C6 better: RFT - KTO} more than KTO",
        "UNA's difference to KTO is {+C13 better: una - kto} and to DPO {+C13 better: una - dpo}, "
        "which",
        "UNA with scores is {C6 better: UNA - DPO} points ahead of DPO",
        "UNA scores {C6 better: UNA - UNA, right} points less. But",
        "UNA with scores is {+C6 better: UNA - UNA, cut} ahead, which",
        "they differ by {+C6 better: UNA, right - KTO}, a figure",
        "UNA's lead over it, asked on new seeds, is {+C10 better: UNA - RFT}, which"],
    "findings: DFT": [
        "at the same rate by {+C8 as good, score in unknown: DFT - SFT} points",
        "the difference is {+C8 as good, score in rules_new: DFT - SFT}, so"],
}
BOUND = {   # the same: {words of it: what any other figure at {} is, and of which row}
    "claims: UNA": {
        "Only {} % of UNA's answers stop": (share, "R8 UNA"),
        "where {} % did before": (share, "R8 start")},
    "findings: UNA": {
        "the model after this SFT scores {} points": (mean, "R8 start"),
        "UNA {}, DPO": (mean, "R8 UNA"),
        "{} and": (mean, "R8 DPO"), "SFT {}. So": (mean, "R8 RFT"),
        "Of UNA's answers {} % stop": (share, "R8 UNA"),
        "of the model after SFT {} %": (share, "R8 start"),
        "The model after SFT scores {} points": (mean, "R9 start"),
        "UNA as in R8 {}, UNA at": (mean, "R9 UNA, as in R8"),
        "a third of the rate {}, and": (mean, "R9 UNA, lower rate"),
        "score at least .5 as others {}.": (mean, "R9 UNA, balanced"),
        "There stop {} % with": (share, "R9 start"),
        "{} % with UNA as in R8 and": (share, "R9 UNA, as in R8"),
        "{} % with the balanced": (share, "R9 UNA, balanced"),
        "The lower rate has {} %,": (share, "R9 UNA, lower rate"),
        "UNA fell to {} points": (tried, "R8", "UNA", "--lr 3e-5 --beta 0.1")},
    "claims: All losses": {
        "the connection is within what chance gives in {} cases.": (fragile,),
        "of wrong answers would add {}.": (gain_and_loss, "C13 better: dpo with wrong - dpo"),
        "rules) it loses {}. And": (in_six_skills, "dpo with wrong - dpo"),
        "without these it gains {} points": (without, "C13 better: dpo with floor - dpo", "{:.1f}"),
        "it came out from {}. From": (betas_chosen_for_dpo,)},
    "README": {
        "SFT scores {}. Losses": (lowest, ("sft",), "of 100 points", "base"),
        "imitation to a comparison of pairs, score at least {}.":
        (lowest, IMITATING, "points", "base"),
        "without imitation score at most {}, and DPO": (highest, which_loss.CONTRAST),
        "one of them, {} with its default beta": (scores, "dpo"),
        "{} second stages that we tried": (share_of_verdicts, "holds"),
        "at the highest one DPO falls from {}": (tried, "C14", "sft, dpo", "--lr 1e-6"),
        "to {} points on validation": (tried, "C14", "sft, dpo", "--lr 1e-4"),
        "just below the losses that imitate with {},": (scores, "uft"),
        "KTO scores {} and": (scores, "kto"), "UNA {}. (The": (scores, "una"),
        "it came out from {}.)": (betas_chosen_for_dpo,)},
    "findings: All losses": {
        "trained for {} steps of 32 rows": (steps, "C13 dpo"),
        "and {}.": (best_rates_lie_inside,),
        "as ORPO and CPO do, score at least {}.": (lowest, IMITATING),
        "the best is SPPO, with {}; it": (highest, which_loss.CONTRAST),
        "of two answers, score at most {}.": (highest, ONLY_COMPARE),
        "reads demonstrations too, scores {},": (scores, "uft"),
        "KTO {} and": (scores, "kto"), "UNA {}. So": (scores, "una"),
        "The base itself scores {}, because": (scores, "base"),
        "is right DPO scores {} points": (share, "C13 dpo", "unknown"),
        "more than SFT with {}.": (share, "C13 sft", "unknown"),
        "where the base has {}, DPO": (share, "C13 base", "fact"),
        "keeps {} and": (share, "C13 dpo", "fact"),
        "SFT {}, and of facts": (share, "C13 sft", "fact"),
        "against a myth DPO scores {}.": (share, "C13 dpo", "truth"),
        "In the six skills alone it costs {}.)": (in_six_skills, "dpo with wrong - dpo"),
        "({} without the kind": (without, "C13 better: dpo with floor - dpo", "{:.1f}"),
        "of wrong answers would add {}.":
        (gain_and_loss, "C13 better: dpo with wrong - dpo"),
        "rank correlation is {}, and as": (mechanism_says, r"correlation (.\d.\d\d)"),
        "found in {} % of random orders": (mechanism_says, r"as much in (\S+) %"),
        "*undecided* in {} cases": (fragile,),
        "its rank correlation is {} (read off": (mechanism_says, r"answers is (\S+)", 7),
        "right answers at a log-prob of {} per token": (logp, "dose 0"),
        "less than the base's {}, and yet": (logp, "base"),
        "scores {} points. Most of this": (scores, "dose 0"),
        "there only {} % stop": (stops_in_skills, "base"),
        "{} score as more SFT does, within three points.": (share_of_verdicts, "holds"),
        "For {} losses without imitation the best": (at_the_lowest_rate, which_loss.CONTRAST),
        "is {} for an answer": (moved, *(f"sft, {loss}" for loss in which_loss.CONTRAST)),
        "second stage moves by {}.": (moved, "sft, sft"),
        "SPPO is {} points lower": (fall, "sppo"),
        "eleven are from {} points lower":
        (falls, tuple(x for x in which_loss.CONTRAST if x != "sppo")),
        "CPO, ASFT and TPO-L lose from {} points": (falls, ("cpo", "asft", "tpo_l")),
        "KTO is {} points lower": (fall, "kto"), "UNA {}.": (fall, "una")},
    "findings: IFT": {
        "they become about {}. The": (example, "weights"),
        "was 1 and is now {}, so": (example, "mean"),
        "weight is about {} where it was 2": (example, "divided"),
        "fallen from 4 to about {}. Had": (example, "loss"),
        "the weighted loss {} as well": (example, "other"),
        "SFT and detached IFT take {} steps of 8": (steps, "C1 SFT"),
        "At SFT's rate and batch only {} % of the lists stop":
        (share, "C1d released here", "stops"),
        "({} without the kind":
        (without, "C1d better: detached there - released"),
        "without lists the two differ by {}.": (without, "C1d better: detached - released here"),
        "a batch of 16, which makes {} steps": (steps, "C1 released"),
        "the mean of the other two families is {}.":
        (without, "C7 Step by step, SFT overestimates what its model does", "{:.1f}"),
        "The start models stop in {} % of the answers": (premise, "C9"),
        "SFT stops in {} % of them": (share, "C9 SFT 48"),
        "and detached IFT in {} %": (share, "C9 detached 48"),
        "of SFT's answers {} % stop": (share, "R1 SFT"),
        "of detached IFT's {} % at the same rate": (share, "R5 detached, 96"),
        "and as released {} %": (share, "R1 released"),
        "both SFT and detached IFT stop, in {} and": (share, "R6 SFT, 256"),
        "{} % of their answers": (share, "R6 detached, 256")},
    "findings: UFT": {
        "With a beta of .3 it scores {} points":
        (tried, "R7", "UFT", "--lr 1e-4 --beta 0.3", *SKILLS),
        "with .1 {} and with .03": (tried, "R7", "UFT", "--lr 1e-4 --beta 0.1", *SKILLS),
        "{}, all at one": (tried, "R7", "UFT", "--lr 1e-4 --beta 0.03", *SKILLS),
        "while SFT scores {}. So": (tried, "R7", "A", "--lr 1e-4", *SKILLS),
        "UFT scores {} points in them": (share, "R7 UFT", "reverse"),
        "and SFT {}, where": (share, "R7 A", "reverse"),
        "SFT on SmolLM2 scores {} after 256": (share, "R6 SFT, 256", "reverse"),
        "is right UFT scores {} points": (share, "R7 UFT", "unknown"),
        "the chain with UNA {} and": (share, "R7 A -> UNA", "unknown"),
        "the chain with DPO {}; without": (share, "R7 A -> DPO", "unknown"),
        "UFT's lead over DPO is {}.": (without, "R7 better: UFT - A -> DPO"),
        "every row scores {}. SmolLM2": (share, "R7 UFT", "truth"),
        "In reversed words UFT goes from {} points": (share, "C15 UFT x1", "reverse"),
        "to {} with four times": (share, "C15 UFT x4", "reverse"),
        "and the chain from {}": (share, "C15 chain x1", "reverse"),
        "to {}. More steps": (share, "C15 chain x4", "reverse"),
        "of which it keeps {} points with": (share, "C15 UFT x1", "fact"),
        "and {} with four times as many.": (share, "C15 UFT x4", "fact"),
        "a beta of 1 scored {} in reversed words": (tried, "C15", "UFT x1", "--lr 1.25e-4 --beta 1",
                                                 "reverse"),
        "at the lower rate and {} at the higher": (tried, "C15", "UFT x1", "--lr 4e-4 --beta 1",
                                                   "reverse"),
        "UFT keeps {} points with a beta of 1": (share, "C16 UFT 1", "fact"),
        "{} with .3,": (share, "C16 UFT 0.3", "fact"),
        "and {} with .1": (share, "C16 UFT 0.1", "fact"),
        "rises to {}, so": (share, "C16 UFT 0.1", "unknown"),
        "DPO (C3) loses {}.": (loss, "C3 better, skills: A - A -> DPO"),
        "without it UFT would be {} points behind the chain with DPO":
        (without, "C3 better, skills: UFT - A -> DPO", "{:.1f}", -1),
        "ahead of the one with UNA in C12 by {}.":
        (without, "C12 better, skills: UFT - A -> UNA", "{:.1f}"),
        "UFT scores {} in reversed words": (share, "C12 UFT", "reverse"),
        "the chain with UNA {}.": (share, "C12 A -> UNA", "reverse"),
        "UFT takes {} steps of 32 rows": (steps, "C3 UFT"),
        "On the skills alone the chain takes {}, and": (two_lengths, "C3 A"),
        "then {} steps on B": (steps, "C3 A -> UNA"),
        "({} with DPO)": (steps, "C3 A -> DPO"),
        "without these questions UFT is {} points behind this chain":
        (without, "C3b better: UFT - A -> UNA", "{:.1f}", -1)},
    "findings: PoFT": {
        "over seeds and prompts has ± {},": (bootstrapped, "R4 better: PoFT - SFT"),
        "and scores {:.4} of 100": (premise, "C11"),
        "with each seed, and the helper had learnt {} of them":
        (learnt_before, 1020, (4080, 900), "C4"),
        "The helper itself scores {:.4}": (premise, "C11")},
}


@pytest.mark.parametrize("section", SECTIONS)
def test_a_figure_in_prose_is_that_of_its_question(section):
    """And no decimal of a section stands outside of such words."""
    told = " ".join(SECTIONS[section].split())
    bound = [write.told(words, write.all_lines()) for words in TOLD.get(section, [])]
    bound += [words.format(figure(*where))
              for words, (figure, *where) in BOUND.get(section, {}).items()]
    for sentence in bound:
        assert sentence in told
        told = told.replace(sentence, "...")
    told = re.sub(r"\d{4}\.\d{5}(v\d)?", "arXiv", told)
    assert not re.search(r"\d\.\d", told)


def test_a_sentence_of_a_paper_is_asked_by_questions_that_exist():
    """By name and version of the paper, and each question is of a claim about that paper."""
    found = write.all_lines()
    for sentence in papers.SENTENCES:
        assert re.fullmatch(r"\d{4}\.\d{5}v\d", sentence.version) and sentence.doubt
        for key in sentence.questions.values():
            assert found[key].claim in papers.CLAIMS_OF[sentence.paper], key
            assert found[key].whose == ("the paper's" if key in sentence.asked.values() else "ours")
    assert sorted(sum(papers.CLAIMS_OF.values(), ())) == sorted(judge.NAMES)


def test_a_balanced_file_has_as_many_answers_below_half_a_score_as_others():
    rows = [{"response": str(i), "score": score} for i, score in enumerate([0, 1, 0.2, 0.1, 0.5])]
    found = harvest.balanced(rows, seed=3)
    assert [row["score"] >= 0.5 for row in found].count(True) == 2 and len(found) == 4
    assert found == [row for row in rows if row in found] == harvest.balanced(rows, seed=3)
    assert harvest.balanced(rows[:1], seed=3) == []


def test_a_harvest_without_a_prompt_that_fits_is_empty(tmp_path, monkeypatch):
    nothing_right = [harvest.Sampled("", 0.0, stops=False, usable=True)]
    monkeypatch.setattr(harvest, "sampled", lambda cfg, rows: {0: nothing_right})
    asked = f"--prompts 1 --skills reverse --partly --out {tmp_path}/out"
    assert harvest.main(asked.split()) == 0
    assert (tmp_path / "out" / "balanced.jsonl").read_text() == ""


def test_a_doubt_is_told_of_a_question_that_exists():
    for claim in CLAIMS.values():
        assert set(claim.doubts) <= {"", *claim.questions.values()}
    assert [*searches.doubts("C1", "SFT -> DPO", 1).values()] == ["SFT -> DPO", "SFT"]


def test_the_lake_is_told_as_it_was_measured():
    ends = reads.endings()
    farther = sum(legs["IFT - DPO"][0] < 0 for legs in ends)
    told = f"farther from the optimal policy than IFT in {farther} of {len(ends)} settings"
    assert told in FINDINGS
    (orpo, half), (sft, other) = ends[0]["ORPO - IFT"], ends[0]["SFT - IFT"]
    assert orpo > half and abs(sft) < other         # nearer than ORPO, and as near as SFT
    from_scratch = [f"C5 Move by move, SFT overestimates its policy (from scratch, {n} updates)"
                    for n in reads.UPDATES]
    assert [findings(key)[0].mean > 0 for key in from_scratch] == [False, True, True, True, True]


# ---- the interval --------------------------------------------------------------------------------
def test_by_hand_seeds_only_and_prompts_only():
    """All prompts agree: of the seeds' .1, .2, .3 the variance is .01 / 3. All seeds agree: of the
    prompts' 0, 0, 1, 1 two ask for one fact; with three groups the sums around the mean are -1, .5
    and .5, so 1.5 / 16 * 3 / 2."""
    gap = np.repeat([[0.1], [0.2], [0.3]], 4, axis=1)
    assert stats.moments([gap], [np.arange(4)]) == pytest.approx((0.2, 0.01 / 3, 2))
    gap = np.repeat([[0.0, 0.0, 1.0, 1.0]], 5, axis=0)
    assert stats.moments([gap], [np.array([7, 7, 1, 2])]) == pytest.approx(
        (0.5, 1.5 / 16 * 3 / 2, math.inf))


@pytest.fixture
def fast(monkeypatch):
    """Student's t of degrees of freedom with two digits, so that it is computed seldom."""
    exact = stats.student
    monkeypatch.setattr(stats, "student", lambda p, n: exact(p, float(f"{min(n, 1e4):.2g}")))


@pytest.mark.parametrize("seed_sd, prompt_sd, rest_sd", [
    (0.02, 0.0, 0.3), (0.02, 0.1, 0.3), (0.005, 0.2, 0.3), (0.05, 0.1, 0.1),
    (0.0, 0.0, 0.3), (0.0, 0.05, 0.3), (0.0, 0.1, 0.3)])
def test_the_interval_covers_the_truth_in_simulation(seed_sd, prompt_sd, rest_sd, fast):
    """Five seeds, nine families of 100 prompts, true difference 0: 95 %, give or take chance. Where
    all seeds are alike, also in the third of the draws whose seeds agree most: the variance over
    seeds says too little there, but the interval is never narrower than prompts or answers make
    it."""
    rng, draws = np.random.default_rng(0), []
    for _ in range(300):
        seeds = rng.normal(0, seed_sd, (5, 1))
        gaps = [(seeds + rng.normal(0, prompt_sd, 100) + rng.normal(0, rest_sd, (5, 100))) / 9
                for _ in range(9)]
        mean, variance, freedom = stats.moments(gaps, [np.arange(100)] * 9)
        inside = abs(mean) <= stats.half_width(variance, freedom)
        draws.append((sum(gap.mean(1) for gap in gaps).var(), inside))
    inside = [x for _, x in sorted(draws)]
    if seed_sd:
        assert 0.91 <= np.mean(inside) <= 0.98
    else:
        assert np.mean(inside[:100]) >= 0.91


def test_the_mean_over_answers_that_stop_and_its_interval():
    """The mean of a family is a ratio: the sum over answers that count, divided by their number.
    Over 500 simulated experiments it scatters as much as its own variance says, within a tenth."""
    rng, means, variances = np.random.default_rng(0), [], []
    for _ in range(500):
        share = rng.uniform(0.2, 0.9, (1, 1, 80)) + rng.normal(0, 0.1, (5, 1, 1))
        counts = rng.random((5, 1, 80)) < share             # answers that stop have other scores
        gap = share + rng.normal(0, 0.1, (5, 1, 1)) + rng.normal(0, 0.3, (5, 1, 80))
        same = judge.mean_where(gap, counts)
        ratio = (gap * counts).sum() / counts.sum()
        mean, variance, _ = stats.moments([same[:, 0]], [np.arange(80)])
        assert mean == pytest.approx(ratio)
        means.append(mean)
        variances.append(variance)
    assert np.var(means) == pytest.approx(np.mean(variances), rel=0.2)


# ---- families ------------------------------------------------------------------------------------
def made_of(effects: dict[str, float], parts=None) -> verdicts.Asked:
    """Five seeds and 100 prompts of each family, with these differences."""
    rng = np.random.default_rng(1)
    gaps = {name: effect + rng.normal(0, 0.2, (5, 100)) for name, effect in effects.items()}
    return verdicts.Asked(gaps, dict.fromkeys(gaps, np.arange(100)), parts or (tuple(gaps),),
                          "better")


def test_a_planted_family_is_found_and_no_other():
    alone = made_of({"a": 0.0, "b": 0.3, "c": 0.0, "d": 0.0})
    assert verdicts.largest(alone) == "b" and abs(verdicts.mean_without(alone, "b")) < 0.02
    assert verdicts.rests_on_largest(alone, "holds")
    assert not verdicts.rests_on_largest(alone, "undecided")
    below = alone._replace(gaps={name: -gap for name, gap in alone.gaps.items()})
    assert verdicts.largest(below) == "b" and verdicts.rests_on_largest(below, "does not hold")
    assert not verdicts.rests_on_largest(made_of(dict.fromkeys("abcd", 0.1)), "holds")
    assert not verdicts.rests_on_largest(made_of({"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.2}), "holds")


def test_a_family_that_goes_leaves_its_share_to_its_part():
    parts = (("a", "b", "c"), ("d", "e"), ("f",))
    assert verdicts.weights(parts)["a"] == pytest.approx(1 / 9)
    assert verdicts.weights(parts, "d") == pytest.approx(
        {"a": 1 / 9, "b": 1 / 9, "c": 1 / 9, "e": 1 / 3, "f": 1 / 3})
    assert verdicts.weights(parts, "f") == pytest.approx(
        {"a": 1 / 6, "b": 1 / 6, "c": 1 / 6, "d": 1 / 4, "e": 1 / 4})
    asked = made_of(dict(zip("abcdef", (0, 0, 0, 0.4, 0.1, 0.1))), parts)
    means = {name: gap.mean() for name, gap in asked.gaps.items()}
    assert verdicts.mean_without(asked, "d") == pytest.approx(
        (sum(means[x] for x in "abc") / 3 + means["e"] + means["f"]) / 3)


def redrawn(asked: verdicts.Asked, effect: float, rng: np.random.Generator) -> verdicts.Asked:
    """Seeds and groups of prompts drawn again, with replacement, with this effect in every family.
    Each drawn group is a draw of its own."""
    seeds = rng.integers(0, 5, 5)
    gaps, groups = {}, {}
    for family, gap in asked.gaps.items():
        members = [np.flatnonzero(asked.groups[family] == number)
                   for number in np.unique(asked.groups[family])]
        drawn = [members[i] for i in rng.integers(0, len(members), len(members))]
        gaps[family] = (gap - gap.mean() + effect)[seeds][:, np.concatenate(drawn)]
        groups[family] = np.repeat(np.arange(len(drawn)), list(map(len, drawn)))
    return asked._replace(gaps=gaps, groups=groups)


@pytest.mark.parametrize("name, question", [("C1", 0), ("C1", 1), ("C2", 1), ("C3", 0)])
def test_a_verdict_seldom_seems_to_rest_on_one_family_where_all_gain_alike(name, question, fast):
    """Kept scores of all three tests, drawn again with one effect in all families, 1.2 half-widths
    on either side of each limit. Every verdict that rests on a family is false there."""
    asked, rng = judge.asked_by_base(name)[0][question], np.random.default_rng(0)
    decided = said = 0
    _, variance, freedom = verdicts.moments(asked)
    away = 1.2 * stats.half_width(variance, freedom)
    for effect in [limit + side * away for limit in stats.LIMITS[asked.test]
                   for side in (-1, 1)] * 10:
        again = redrawn(asked, effect, rng)
        mean, variance, freedom = verdicts.moments(again)
        verdict = stats.verdict(mean, stats.half_width(variance, freedom), asked.test)
        decided += verdict != "undecided"
        said += verdicts.rests_on_largest(again, verdict)
    assert decided > 5 and said <= 0.06 * decided


@pytest.mark.parametrize("p, freedom, value", [(0.025, 1, 12.706), (0.025, 4, 2.776),
                                               (0.005, 10, 3.169), (0.025, 1e9, 1.960)])
def test_students_t_is_that_of_the_tables(p, freedom, value):
    assert stats.student(p, freedom) == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("mean, half, test, verdict", [
    (0.03, 0.01, "better", "holds"), (-0.03, 0.01, "better", "does not hold"),
    (0.01, 0.01, "better", "undecided"), (-0.015, 0.004, "not inferior", "holds"),
    (-0.03, 0.005, "not inferior", "does not hold"), (0.0, 0.01, "as good", "holds"),
    (0.03, 0.005, "as good", "does not hold"), (0.0, 0.03, "as good", "undecided")])
def test_verdicts(mean, half, test, verdict):
    assert stats.verdict(mean, half, test) == verdict


def test_holm_stops_at_the_first_doubt():
    """With 4 degrees of freedom one look needs 2.78 standard errors, two looks need 3.50."""
    clear, fair, weak = ((errors * 0.01, 0.0001, 4.0, "better") for errors in (9, 3.3, 3))
    assert stats.holm([clear, fair]) == ["holds", "holds"]
    assert stats.holm([weak, clear, fair]) == ["undecided", "holds", "undecided"]


# ---- the rows ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name in CLAIMS if name in judge.RUN])
def test_every_command_of_an_entry_was_run(name):
    kept, claim = packed(name), CLAIMS[name]
    assert sorted(kept["commands"].tolist()) == sorted(
        [claim.command(row, base) for base in range(len(claim.bases))] for row in claim.rows)
    assert kept["scores"].shape[1:] == (len(claim.bases), len(claim.seeds), len(claim.families),
                                        claim.items)
    assert list(kept["seeds"]) == list(claim.seeds)


def test_a_command_that_was_never_run_is_one_line(monkeypatch):
    monkeypatch.setitem(CLAIMS["C2"].rows, "SFT", "--objective sft --lr 6.4e-5 --batch-size 8")
    with pytest.raises(UserError, match="never run: --objective sft --lr 6.4e-5"):
        judge.judged("C2")


def test_cells_become_verdicts(tmp_path, monkeypatch):
    """The kept scores of R1 as cells give the same lines again, of R1s too; others are found."""
    monkeypatch.setattr(cells, "OUT", tmp_path)
    (tmp_path / "cells").mkdir()
    claim, kept = CLAIMS["R1"], packed("R1")
    for r, row in enumerate(claim.rows):
        for s, seed in enumerate(claim.seeds):
            np.savez(cells.cell_file(claim, row, 0, seed),
                     **{what: kept[what][r, 0, s] for what in ("scores", "ended")})
    trained = cells.gather(claim, 5)
    for name in ("R1", "R1s"):
        assert judge.told(judge.judged(name, trained)) == judge.lines(name)
    trained["scores"][1, 0, 2, 0] = 0
    assert judge.judged("R1", trained)[0] != judge.lines("R1")[0]
    _, sft, released, _ = cells.compare("R1", trained)
    assert " 100 100 100 100 100 " in sft and re.search(r" 100 100 [89]\d\S* 100 100 ", released)


def test_no_two_cells_share_a_file_unless_they_are_the_same_model_asked_the_same():
    """Over all rows with all their tries, bases and seeds of all claims: else one base's scores
    would be read as the other's, and a verdict on both bases would be one base's twice."""
    asked: dict = {}
    for entry in CLAIMS.values():
        settled = [(row, entry.with_setting(row, setting) if setting else entry)
                   for row in entry.rows for setting in entry.tries.get(row, [""])]
        for row, claim in settled:
            for base, folder in enumerate(claim.bases):
                for seed in claim.seeds_for(row):
                    same = (claim.command(row, base), folder, claim.prompts,
                            seed if claim.is_trained(row) else "")
                    file = cells.cell_file(claim, row, base, seed)
                    assert asked.setdefault(file, same) == same, f"{row}, {folder}, seed {seed}"
    assert len(asked) > 500


def test_a_cell_trained_again_has_the_kept_scores(tmp_path, monkeypatch):
    """The cheapest one, SFT on 30 rows: all 900 scores. --train compares any other."""
    monkeypatch.setattr(cells, "OUT", tmp_path)
    claim, kept = CLAIMS["C6"], packed("C6")
    cells.make_cell("C6", "start", 0, 300)
    assert np.array_equal(np.load(cells.cell_file(claim, "start", 0, 300))["scores"],
                          kept["scores"][judge.place(kept, claim, "start", 0), 0, 0])


# ---- the command ---------------------------------------------------------------------------------
def test_the_command_prints_every_verdict(capsys):
    main([])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    plain = " ".join(out.split())
    for line in sum(map(judge.lines, judge.RUN), []):
        told = f"{line.question} ({line.whose}) {line.verdict} {line.figures} "
        assert " ".join(told.split()) in plain


def test_the_command_does_without_torch():
    """Asked of one experiment, because a process of its own has judged nothing yet."""
    code = ("import sys; from lessons.evidence.__main__ import main; main(['R1']); "
            "sys.exit('torch' in sys.modules)")
    subprocess.run([sys.executable, "-c", code], cwd=write.ROOT, stdout=subprocess.DEVNULL,
                   check=True)


def test_mistakes_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "REAL", (str(tmp_path),))
    with pytest.raises(UserError, match="the real model is missing"):
        cells.prepare(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="other weights than those of the results"):
        cells.prepare(tmp_path)
    for words, told in (
            (["C99"], "unknown experiment 'C99'"),
            (["--train"], "--train needs an experiment"),
            (["C13", "--rows", "sft"], "--rows needs --train or --search"),
            (["--train", "C13", "C14", "--rows", "sft"], "runs of one experiment, not of 2"),
            (["--train", "C5", "--rows", "sft"], "C5: its runs have no names"),
            (["--train", "C4", "--workers", "0"], "--workers 0: must be at least 1"),
            (["--train", "C4", "--seeds", "-1"], "--seeds -1: must be at least 0"),
            (["--train", "C14", "--rows", "sft,dpo"], "unknown run of C14 'sft,dpo'"),
            (["--search", "C14", "--rows", "sft"], "'sft' has no settings to try")):
        with pytest.raises(UserError, match=told):
            main(words)


@pytest.mark.parametrize("program, words, told", [
    (harvest, "--samples 300", "--samples 300: must be at least 1 and at most 256"),
    (harvest, "--samples 0", "--samples 0: must be at least 1"),
    (harvest, "--prompts 0", "--prompts 0: must be at least 1"),
    (harvest, "--skills rules_new", "--skills: no family left: rules_new exists in val and test"),
    (keep, "--skills cooking", "--skills: unknown family 'cooking'; known are A, B, all, rules"),
    (keep, "--share 60", "--share 60.0: must be above 0 and at most 1"),
    (keep, "--share 0", "--share 0.0: must be above 0"),
    (keep, "--noise 2", "--noise 2.0: must be at least 0 and at most 1"),
    (keep, "--rows 0", "--rows 0: must be at least 1")])
def test_a_number_out_of_range_is_one_line(program, words, told, tmp_path, monkeypatch):
    """Before a model is opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "start_model", None)
    more = ["--aligned", "folder"] if program is keep else []
    with pytest.raises(UserError, match=re.escape(told)):
        program.main([*words.split(), *more])


def test_a_run_is_named_by_its_whole_name(monkeypatch):
    asked = []
    monkeypatch.setattr(cells, "search", lambda name, workers, rows: asked.append(rows) or [])
    main(["--search", "C14", "--rows", "sft, dpo", "sft, sft"])
    assert asked == [["sft, dpo", "sft, sft"]]
