"""Claim C7: is IFT's temporal residual a better estimate of what a model can answer?

    python -m lab.residual              # 40 SFT models, 600 prompts each: 10 minutes; resumable
    python -m lab.residual --write      # C7.json, table and picture from finished cells

IFT's paper (arXiv:2405.11870v3, abstract and section 4) says so. No training with IFT is needed to
ask that. SFT models of four sizes of data answer new prompts that have one right answer. The truth
is the share of sampled answers that are right. Five estimates score the right answer:
    SFT         its chance after the true prefix, exp(sum of log-probs)
    lam .2, .5, 1       the same when the model reads the blend (Eq. 17)
    IFT's loss  exp(-sum_t w_t l_t): lam .2, and the weights of the propagation at gamma .95
Three questions: is the estimate right on average (and as a forecast, the Brier score)? Does it tell
prompts that greedy decoding answers rightly (AUC)? Does it put the right answer before a wrong
answer that the model sampled itself?
A number of a seed is the mean over the sizes. Intervals cover other seeds and other prompts
(contrast.py). An AUC is a mean over prompts here: each prompt's placement value (DeLong et al.
1988). Settings of SFT are those of the map, chosen on validation; seeds and prompts are new.
"""
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frozen_lake.demos import gold
from frozen_lake.lake import make_lake
from frozen_lake.learn import learn, method, task_of
from frozen_lake.planning import success
from frozen_lake.policies import start_policy
from lab.cell import KEEP, Cell, kept_model
from lab.cells import finished, pack, unpack
from lab.contrast import same_question, two_way
from lab.judge import bars_of, compared, correct, table_of
from lab.pictures import interval_picture
from lab.probes import right_answer, seqs_of
from lab.runner import open_store, read_lines, results_of, run_missing
from lab.study import BASES
from lab.words import MARGIN, format_gain, format_interval, markdown_table, read_template
from nanouft import world
from nanouft.data.rows import Row
from nanouft.models.load import start_model
from nanouft.objective import Seqs
from nanouft.objectives import ift
from nanouft.run import config
from nanouft.run.storage import checksum, write_json, write_text
from nanouft.sampling import answer_rows, stops

VERSION = 1                             # raised by hand when code changes what cells give
PASSES = {30: 6, 100: 12, 300: 6, 1020: 3}      # demonstrations: passes, as the map chose them
SEEDS, PROMPT_SEED = range(700, 705), 11
FAMILIES = tuple(f for f in world.FAMILIES if f != "list")      # those with one right answer
ITEMS, SAMPLES = 75, 4                 # prompts a family; sampled answers a prompt
CHUNK = 100                             # rows of one forward
ESTIMATES = {                           # name: the setting of IFT that reads so
    "SFT": ift.IFT(lam=0.0), "lam .2": ift.IFT(lam=0.2), "lam .5": ift.IFT(lam=0.5),
    "lam 1": ift.IFT(lam=1.0), "IFT's loss": ift.IFT(lam=0.2, gamma=0.95)}
LAMS = sorted({hp.lam for hp in ESTIMATES.values()})
PAPER = "lam .2"
ADVICE = "Run python -m lab.residual first"


# ---- the claim: contrasts, fixed before the first cell -------------------------------------------
@dataclass(frozen=True)
class Contrast:
    """measure(row) - measure(other). measure: bias (estimate minus truth), brier (the error of a
    forecast), auc, order."""
    text: str
    measure: str
    row: str
    other: str = ""
    test: str = "superiority"
    preset: bool = True


CONTRASTS = (
    Contrast("SFT overestimates: its estimate lies above the truth", "bias", "SFT"),
    Contrast("SFT's estimate is equal to the truth", "bias", "SFT", test="equivalence"),
    Contrast("Forecast: the blend (lam .2) errs less than SFT", "brier", "SFT", PAPER),
    Contrast("AUC: the blend (lam .2) is better than SFT", "auc", PAPER, "SFT"),
    Contrast("AUC: IFT's loss is better than SFT", "auc", "IFT's loss", "SFT"),
    Contrast("Order: the blend (lam .2) is better than SFT", "order", PAPER, "SFT"),
    *(Contrast(f"{name}: its estimate lies above the truth", "bias", name, preset=False)
      for name in ESTIMATES if name != "SFT"),
    *(Contrast(f"AUC: {name} is better than SFT", "auc", name, "SFT", preset=False)
      for name in ("lam .5", "lam 1")),
    *(Contrast(f"Order: {name} is better than SFT", "order", name, "SFT", preset=False)
      for name in ("lam .5", "lam 1", "IFT's loss")),
)


# ---- a cell: an SFT model and its prompts --------------------------------------------------------
@dataclass(frozen=True)
class Job:
    base: str
    rows: int
    seed: int

    @property
    def model(self) -> Cell:
        flags = (f"--objective sft --rows {self.rows} --batch-size 16 --lr 1.25e-4 "
                 f"--epochs {PASSES[self.rows]}")
        return Cell(tuple(flags.split()), self.seed, self.base)

    @property
    def key(self) -> str:
        about = [VERSION, self.model.model_key, PROMPT_SEED, ITEMS, SAMPLES]
        return checksum(repr(about))[:16]

    def __str__(self) -> str:
        return f"SFT on {self.rows}, seed {self.seed}, {self.base}"


JOBS = [Job(base, rows, seed) for rows in PASSES for base in BASES for seed in SEEDS]


def prompts() -> list[Row]:
    return world.rows("test", "prompts", ITEMS * len(FAMILIES), PROMPT_SEED, skills=FAMILIES)


def run_job(job: Job) -> dict:
    about = {"key": job.key, "base": job.base, "rows": job.rows, "seed": job.seed,
             "flags": " ".join(job.model.flags)}
    return finished(about, lambda folder: measured(*start_model(kept_model(job.model, KEEP)),
                                                   prompts(), job.seed))


@torch.no_grad()
def measured(model, tok, asked: list[Row], seed: int) -> dict:
    """What a cell keeps, each as one array over prompts: how many samples are right, whether the
    greedy answer is, log-probs of the right answer under each estimate, and how far (nats) they put
    it before the model's own wrong answer (NaN where no sample is wrong)."""
    model.eval()
    greedy = right(tok, asked, answer_rows(model, tok, asked))
    again = [row for row in asked for _ in range(SAMPLES)]
    samples = answer_rows(model, tok, again, temperature=1.0, seed=seed)
    good = right(tok, again, samples)
    wrong = {}                          # prompt -> its first wrong answer that stops
    for i, answer in enumerate(samples):
        if not good[i] and stops(answer, tok):
            wrong.setdefault(i // SAMPLES, tok.decode(answer.ids).strip() or "?")
    gold = estimates(model, tok, asked, [right_answer(row) for row in asked])
    own = estimates(model, tok, [asked[i] for i in wrong], list(wrong.values()))
    margin = {}
    for name in ESTIMATES:
        margin[name] = np.full(len(asked), np.nan)
        margin[name][list(wrong)] = gold[name][list(wrong)] - own[name]
    return {"right": pack(good.reshape(-1, SAMPLES).sum(1), np.uint8),
            "greedy": pack(greedy, np.uint8),
            "logp": {name: pack(x, np.float16) for name, x in gold.items()},
            "margin": {name: pack(x, np.float16) for name, x in margin.items()}}


def right(tok, asked: list[Row], answers: list) -> np.ndarray:
    """(P,) bool: right in full, and it stops."""
    return np.array([world.score(row.prompt[0].text, tok.decode(a.ids).strip()) == 1
                     and stops(a, tok) for row, a in zip(asked, answers)])


def estimates(model, tok, asked: list[Row], texts: list[str]) -> dict[str, np.ndarray]:
    """{estimate: (P,) log of what it says is the chance of these answers}."""
    found: dict[str, list] = {name: [] for name in ESTIMATES}
    for i in range(0, len(asked), CHUNK):
        s = seqs_of(texts[i:i + CHUNK], asked[i:i + CHUNK], model, tok)
        nll = losses(model, s)
        for name, hp in ESTIMATES.items():
            paid = nll[hp.lam]
            if name == "IFT's loss":
                paid = paid * ift.weights(paid, s, hp)
            found[name] += (-s.sum(paid)).tolist()
    return {name: np.array(x) for name, x in found.items()}


def losses(model, s: Seqs) -> dict[float, Tensor]:
    """{lam: (B,T) nats of each token of the answers after the blend, 0 elsewhere}. It is what
    ift.forward writes, but the guess is made once for all lam."""
    embeds = model(s.inputs, want="embeds")                                     # (B,T,C)
    guess = ift.own_guess(s.inputs, s.mask, model(embeds=embeds, want="argmax", at=s.places))
    own, out = model(guess, want="embeds"), {}
    for lam in LAMS:
        blend = (1 - lam) * embeds + lam * own if lam else embeds               # Eq. 17
        logp = model(embeds=blend, want="logp", targets=s.targets, at=s.places)
        out[lam] = (-logp).masked_fill(s.mask == 0, 0)
    return out


# ---- from cells to numbers -----------------------------------------------------------------------
def placement(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """(P,) whose mean is the AUC, and whose spread is that of its prompts: each prompt's share of
    the other class that it is ordered rightly against."""
    other = np.where(positive[:, None], score[~positive].size, score[positive].size)[:, 0]
    versus = [score[~positive], score[positive]]
    wins = np.array([((x > versus[0]).sum() + 0.5 * (x == versus[0]).sum()) if p else
                     ((x < versus[1]).sum() + 0.5 * (x == versus[1]).sum())
                     for x, p in zip(score, positive)]) / other
    area, share = wins[positive].mean(), positive.mean()
    return area + (wins - area) * np.where(positive, 1 / share, 1 / (1 - share))


def measure(name: str, estimate: str, cell: dict) -> np.ndarray:
    """(P,) of one cell. order: where no sample is wrong, every estimate counts as right."""
    if name == "order":
        ahead = unpack(cell["margin"][estimate], np.float16)
        return np.where(np.isnan(ahead), 1.0, (ahead > 0) + 0.5 * (ahead == 0))
    logp = unpack(cell["logp"][estimate], np.float16)
    if name == "auc":
        return placement(logp, unpack(cell["greedy"], np.uint8) == 1)
    chance, truth = np.exp(logp), unpack(cell["right"], np.uint8) / SAMPLES
    if name == "bias":
        return chance - truth
    return chance ** 2 - 2 * chance * truth + truth     # mean over samples of (chance - right)^2


def by_seed(name: str, estimate: str, cells: dict[tuple[int, int], dict]) -> np.ndarray:
    """(S,P): seed by seed, the mean over the sizes of data. cells: {(rows, seed): cell}."""
    return np.stack([np.mean([measure(name, estimate, cells[n, seed]) for n in PASSES], 0)
                     for seed in SEEDS])


def judged(done: dict[str, dict]) -> dict:
    """C7.json's object."""
    found: dict[str, dict] = {base: {} for base in BASES}
    for job, cell in zip(JOBS, results_of(JOBS, done, ADVICE)):
        found[job.base][job.rows, job.seed] = cell
    same = same_question(prompts())

    def difference(c: Contrast, base: str, looks: int) -> tuple[float, float]:
        gap = by_seed(c.measure, c.row, found[base])
        if c.other:
            gap = gap - by_seed(c.measure, c.other, found[base])
        return two_way([gap], [same], looks=looks)
    looks = [partial(difference, c) for c in CONTRASTS]
    contrasts = [compared(c, look, BASES, measure=c.measure, row=c.row, other=c.other)
                 for c, look in zip(CONTRASTS, looks)]
    correct(contrasts, looks)
    return {"claim": "C7: the temporal residual estimates better than SFT what the model can "
                     "answer", "seeds": list(SEEDS), "sizes": list(PASSES),
            "prompts": PROMPT_SEED, "margin": MARGIN, "levels": levels(found),
            "lake": lake_estimates(), "contrasts": contrasts}


def levels(found: dict[str, dict]) -> dict:
    """{base: {rows: {truth, estimates, auc, order}}}, means over seeds."""
    out: dict = {}
    for base, cells in found.items():
        for n in PASSES:
            mine = [cells[n, seed] for seed in SEEDS]
            truth = np.mean([unpack(c["right"], np.uint8).mean() / SAMPLES for c in mine])
            there = out.setdefault(base, {})[str(n)] = {
                "truth": round(float(truth), 6),
                "greedy": round(float(np.mean([unpack(c["greedy"], np.uint8).mean()
                                               for c in mine])), 6)}
            for name in ESTIMATES:
                there[name] = {
                    "chance": round(float(np.mean([np.exp(unpack(c["logp"][name], np.float16))
                                                   for c in mine])), 6),
                    **{m: round(float(np.mean([measure(m, name, c) for c in mine])), 6)
                       for m in ("auc", "order", "brier")}}
    return out


# ---- the same question on the lake, where all is exact -------------------------------------------
def lake_estimates() -> dict[str, float]:
    """A walker who used to take the detour has made ten updates on the demonstrator. Chances that
    all its moves are the demonstrator's: `walks`, on its own walk (exact); SFT and lam ..., each
    move made from the demonstrator's cell, or from its blend with the cell where the walker's
    likeliest move would have led. arrives: on any path."""
    lake = make_lake("twoway5")
    task, path = task_of(lake, 1), gold(lake)
    start = start_policy("table", "presub", task, [0])
    policy = learn(task, start, method("sft"), steps=10, lr=2e-2).policies[-1][0]     # (S,4)

    def chance(lam: float) -> float:
        product, ghost = 1.0, lake.start
        for cell, move in path:
            logits = (1 - lam) * policy[cell].log() + lam * policy[ghost].log()
            product *= float(logits.softmax(-1)[move])
            ghost = int(lake.step[cell, policy[cell].argmax()])
        return product
    there, own = lake.start, 1.0            # it walks by itself, as long as its moves are right
    for _, move in path:
        own *= float(policy[there, move])
        there = int(lake.step[there, move])
    return {"walks": round(own, 6), **{name: round(chance(hp.lam), 6) for name, hp in
            ESTIMATES.items() if name != "IFT's loss"},
            "arrives": round(float(success(lake, policy)[lake.start]), 6)}


# ---- what is written -----------------------------------------------------------------------------
def page(data: dict) -> str:
    """C7.md from C7.json's object."""
    tables = []
    for base, sizes in data["levels"].items():
        rows = [[f"{int(n):,}", format_interval(x["truth"]), *(format_interval(x[e]["chance"])
                 for e in ESTIMATES), *(f"{x[e]['auc']:.3f}" for e in ESTIMATES)]
                for n, x in sizes.items()]
        titles = ["demonstrations", "truth", *ESTIMATES, *(f"AUC {e}" for e in ESTIMATES)]
        tables += [f"## Base `{base}`", "", *markdown_table(titles, rows), ""]
    said = {c["text"]: (" and ".join(format_gain(b["mean"], b["half"])
                                     for b in c["bases"].values()), c["verdict"])
            for c in data["contrasts"]}
    (sft, above), (_, equal), _, auc, loss, order = list(said.values())[:6]
    full = said["Order: lam 1 is better than SFT"]
    below = {name: said[f"{name}: its estimate lies above the truth"]
             for name in ESTIMATES if name != "SFT"}
    return read_template("C7.md")[0].format(
        sft=sft, above=above, equal=equal, auc=auc[0], auc_word=auc[1], loss=loss[0],
        loss_word=loss[1], below=below, order=order[0], order_word=order[1],
        order_1=full[0], order_1_word=full[1],
        seeds=len(data["seeds"]), prompts=ITEMS * len(FAMILIES), samples=SAMPLES,
        sizes=", ".join(f"{n:,}" for n in data["sizes"]),
        contrasts=table_of(data["contrasts"], BASES), tables="\n".join(tables).rstrip())


def write(folder: Path, data: dict) -> list[Path]:
    write_json(folder / "C7.json", data)
    write_text(folder / "C7.md", page(data))
    panels = {}
    for title, measures in {"estimate minus truth": ("bias",),
                            "against SFT": ("brier", "auc", "order")}.items():
        shown = [c for c in data["contrasts"] if c["measure"] in measures]
        panels[f"C7: {title}"] = bars_of(shown, letters=100)
    return [folder / "C7.json", folder / "C7.md",
            interval_picture(panels, folder / "C7.png")]


@dataclass
class Residual:
    write: bool = False             # from finished cells; no training
    workers: int = 1                # processes of one thread each
    out: str = "docs/results"       # folder of C7.jsonl, C7.json, C7.md and C7.png


def main(argv=None) -> int:
    cfg, _ = config.parse(Residual, argv, "python -m lab.residual", __doc__)
    file = Path(cfg.out) / "C7.jsonl"
    if not cfg.write:
        with open_store(file) as store:
            run_missing(JOBS, store, cfg.workers, run_job)
    print(*write(Path(cfg.out), judged(read_lines(file))), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
