"""The map's plan: what a user may have (regimes), what one may do (rows), how settings are chosen,
which cells follow.

A regime: demonstrations (30, 100, 300, 1,020), samples (250, 1,000, 4,000 answers of the SFT model
to new prompts, each with its exact score), the share of wrong demonstrations, where preferences
come from, and how often the judge errs. All rows see the same prompts and start from the same SFT
model.

Settings are chosen on validation (search.py), learning rate and a second setting jointly: SFT's at
every number of demonstrations; those of other rows where `anchor` says. Settings never see the test
split. map.py is the command.
"""
from dataclasses import dataclass, replace
from functools import lru_cache

from lab.own import KEPT_RIGHT, Own
from lab.study import SECOND, Plan, Row
from nanouft.objectives import OBJECTIVES

DEMOS, SAMPLES = (30, 100, 300, 1020), (250, 1000, 4000)
MOST = max(SAMPLES)
PER_PROMPT = 4                          # samples a prompt
PER_STEP = 8                            # prompts a step, of methods that sample while they train


@dataclass(frozen=True)
class Regime:
    """What a user has. source: who says which answer is good: own (own samples, exact score),
    learnt (own samples, a reward model that learnt from samples/2 pairs of them), spoilt (the
    world's pairs of right and wrong answers). steps: a reward that may be asked at every step, this
    often; then samples follow from it."""
    demos: int
    samples: int = 0
    noise: float = 0.0
    source: str = "own"
    base: str = "base"
    steps: int = 0
    errs: int = 0                       # of a hundred judgements

    @property
    def name(self) -> str:
        words = [f"{self.demos:,} x {self.samples:,}" if self.samples else f"{self.demos:,}"]
        words += [f"{100 * self.noise:.0f} % wrong"] if self.noise else []
        words += ([{"learnt": "learnt reward", "spoilt": "spoilt answers"}[self.source]]
                  if self.source != "own" else [])
        words += [f"{self.steps} steps"] if self.steps else []
        words += [f"{self.errs} % misjudged"] if self.errs else []
        return ", ".join(words + (["second base"] if self.base != "base" else []))


@dataclass(frozen=True)
class Recipe:
    """A row: an objective, the file of answers that it reads, what it starts from, the axes of its
    settings."""
    objective: str
    file: str                           # of own.py; "" for what reads none
    needs: str                          # what a user must have
    axes: dict[str, tuple[str, ...]]
    passes: str = "2"                   # over the file; "" where passes are an axis


RATES, BETAS = ("3e-6", "1e-5", "3e-5", "1e-4"), ("0.1", "0.3", "1")
SFT_AXES = {"--lr": ("1.25e-4", "2.5e-4", "5e-4", "1e-3"), "--epochs": ("3", "6", "12", "24")}
ONLINE_AXES = {"--lr": ("3e-5", "1e-4", "3e-4", "1e-3"), "--beta": ("0.005", "0.05")}
RIGHT_AXES = {"--lr": ("3e-5", "1e-4", "2.5e-4", "5e-4"), "--epochs": ("2", "4")}
ROWS = {
    "RFT": Recipe("sft", "demos", "right answers", RIGHT_AXES, passes=""),
    "DPO": Recipe("dpo", "pairs", "pairs", {"--lr": RATES, "--beta": BETAS}, passes="8"),
    "SimPO": Recipe("simpo", "pairs", "pairs", {"--lr": RATES, "--beta": ("1", "2", "4")},
                    passes="8"),
    "KTO": Recipe("kto", "labels", "labels", {"--lr": RATES, "--beta": BETAS}),
    "UNA": Recipe("una", "scores", "scores", {"--lr": RATES, "--beta": ("0.3", "1", "3")}),
    "RLOO": Recipe("rloo", "", "reward", ONLINE_AXES),
}
LONG_AXES = {"--lr": ("1e-5", "3e-5", "1e-4", "3e-4"), "--beta": ("0.005",)}
LONG = {name: Recipe(name.lower(), "", "reward", LONG_AXES) for name in ("RLOO", "GRPO", "PPO")}
# answers of the spoilt pairs: does the comparison help, or more right answers?
RIGHT = "SFT on the chosen"
CLEANED = "SFT on the right demonstrations"    # the same judge, asked about the demonstrations
# by a learnt reward, which does not say what is right
BEST = "best of 4"
PICKED = "SFT on the best of 4"
NO_END = ("0.005",)  # a smaller beta no longer holds the model: nothing to find beyond

GRID = [Regime(d, s) for d in DEMOS for s in SAMPLES]
PIECES = {
    "grid": GRID,
    "long": [Regime(100, 12_288, steps=384), Regime(100, 12_288, steps=384, base=SECOND)],
    "source": [Regime(d, 1000, source=s) for s in ("learnt", "spoilt") for d in (100, 1020)],
    "noise": [Regime(d, 1000, noise=0.4) for d in (100, 300)],
    "judges": [Regime(d, MOST, errs=e) for e in (5, 15, 30) for d in (100, 30)],
    "second": [Regime(d, 1000, base=SECOND) for d in (100, 1020)],
}


# ---- rows ----------------------------------------------------------------------------------------
def own_prompts(r: Regime) -> int:
    # a reward model scores as many as one likes
    return (4 if r.source == "learnt" else 1) * r.samples // PER_PROMPT


def steps(r: Regime) -> int:
    """Of a method that samples while it trains: one look at each prompt, in whole batches."""
    return r.steps or own_prompts(r) // PER_STEP


def on_policy(recipe: Recipe) -> bool:
    return OBJECTIVES[recipe.objective].on_policy


def recipes(r: Regime) -> dict[str, Recipe]:
    """The rows of a regime beside SFT."""
    if not r.samples:
        return {}
    if r.steps:
        return LONG | {"RFT": ROWS["RFT"]}
    if r.source == "spoilt":
        return {n: ROWS[n] for n in ("DPO", "SimPO")} | {RIGHT: replace(ROWS["RFT"], file="")}
    if r.errs:
        return {n: ROWS[n] for n in ("RFT", "UNA", "DPO", "KTO", "RLOO")}
    return {PICKED if r.source == "learnt" and name == "RFT" else name: recipe
            for name, recipe in ROWS.items()}


def reads(r: Regime, recipe: Recipe) -> str:
    """The flags that say what a row learns from, and for how long."""
    passes = f" --epochs {recipe.passes}" if recipe.passes else ""
    if on_policy(recipe):  # the prompts of the answers, and not the answers
        judge = " --reward {reward}" if r.source == "learnt" or r.errs else ""
        return f"--data {{own}}/scores.jsonl --steps {steps(r)} --batch-size {PER_STEP}{judge}"
    if r.source == "spoilt":  # a pair is two answers, one of them right
        return f"--rows {r.samples // 2} --batch-size 16{passes}"
    return f"--data {{own}}/{recipe.file}.jsonl --batch-size 16{passes}"


@lru_cache
def plan(r: Regime) -> Plan:
    """The rows of a regime; all start from the SFT model of the same seed and read the same answers
    of it."""
    home, noise = Regime(r.demos, noise=r.noise), f" --noise {r.noise:g}" if r.noise else ""
    labelled = r.samples // 2 if r.source == "learnt" else 0
    own = Own(None, own_prompts(r), 0, PER_PROMPT, labelled, r.demos, r.noise, r.errs)
    rows = {"SFT": Row(f"--objective sft --rows {r.demos} --batch-size 16{noise}", SFT_AXES,
                       at=home)}
    for name, recipe in recipes(r).items():
        spoilt, where = r.source == "spoilt" and not on_policy(recipe), anchor(r, name)
        rows[name] = Row(f"--objective {recipe.objective} {reads(r, recipe)}", recipe.axes, "SFT",
                         at=where, like="RFT" if name == PICKED else None, apart=spoilt,
                         own=None if spoilt else own, curve=bool(r.steps) and on_policy(recipe))
    if r.noise:
        rows[CLEANED] = Row(f"--objective sft --data {{own}}/{KEPT_RIGHT} --batch-size 16",
                            like="SFT", at=Regime(r.demos), asks="SFT",
                            own=Own(None, 0, 0, 0, 0, r.demos, r.noise))
    if r.source == "learnt":
        rows[BEST] = Row("", after="SFT", own=own, best_of=PER_PROMPT)
    return Plan(rows, "SFT", bases=(r.base,), parts=(), ends=NO_END, effort=effort(r))


def effort(r: Regime) -> dict[str, int]:
    """Of a regime's searches. A grid grows once where a run takes half a minute, three times where
    it takes seconds."""
    if r.steps:
        return {"more": 1}
    return {"growths": 1 if r.samples > 1000 or r.source == "spoilt" else 3}


def anchor(r: Regime, name: str) -> Regime:
    """Where the settings of a row are chosen: long runs and spoilt answers have searches of their
    own (on the first base), wrong demonstrations one at 100; the others take them from the regime
    nearest in size, with a judge who never errs. RLOO with 30 demonstrations has one of its own:
    with the beta of 100 it gained half as much. A learnt reward judges MOST answers."""
    if name == "RLOO" and r.demos == 30 and r.samples == MOST:
        return Regime(30, MOST)
    if r.steps or r.noise or r.source == "spoilt":
        return replace(r, demos=100 if r.noise else r.demos, base="base")
    many = r.samples == MOST or r.source == "learnt"
    if r.demos <= 100:
        return Regime(100, MOST if many else 1000)
    return Regime(300, MOST) if many and r.demos == 300 else Regime(1020, 1000)
