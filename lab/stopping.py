"""Does IFT as released unlearn stopping, and where? Five losses, three places, two lengths.

    python -m lab.stopping              # two small bases, 90 runs: 15 minutes; resumable
    python -m lab.stopping --write      # stopping.json, table and picture from finished cells

The released loss pushes an easy token after hard ones down (lesson 06). In lists the hard tokens
are the free choices and the easy one is <|end|>. If this is the cause, then
    released            must unlearn <|end|> in each place;
    last weight constant    the same, but no gradient through the weight of the last token;
    detached            no gradient through any weight (the default of `--objective ift`);
    plain end           released on all tokens but <|end|>, SFT's loss on <|end|>
must keep it as SFT does. That was predicted; docs/results/stopping.md says what came of it and what
the numbers are. "Last weight constant" and "plain end" are no flags of `train`: they live here.
Places: NanoWorld's words with the shipped base; a byte-level BPE with 320 ids of the same corpus,
where a word is two or three tokens, with a base of its own; a Llama of one million parameters
through nanouft/hf. Answers of about 8 and 32 tokens ("Name some things. End on fox." -> "bee saw
nail and fox").
"""
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lab.cell import KEEP
from lab.cells import finished
from lab.probes import seqs_of
from lab.runner import open_store, read_lines, results_of, run_missing
from lab.words import format_interval, markdown_table, read_template
from nanouft import pretrain
from nanouft.data.batches import Epochs, encode
from nanouft.data.bpe import count_words, train_bpe
from nanouft.data.rows import Row, Turn
from nanouft.data.tokenizer import CONTROL, NANO_PATTERN, Tokenizer, nano
from nanouft.eval.plots import LINES, plt, save
from nanouft.eval.stats import interval
from nanouft.gpt import GPT, NANO, shipped_base
from nanouft.loop import Device, steps, warmup_cosine
from nanouft.models.folder import read_gpt
from nanouft.models.save import save_model
from nanouft.objective import Batch, Objective
from nanouft.objectives import OBJECTIVES, ift
from nanouft.run import config
from nanouft.run.storage import checksum, made_once, write_json, write_text
from nanouft.sampling import answer_rows, stops
from nanouft.world.documents import corpus
from nanouft.world.facts import ITEMS

VERSION = 1                             # raised by hand when code changes what cells give
SEEDS = range(3)
STEPS, RATE = 48, 5e-4                  # of a run
ROWS = {8: 16, 32: 8}                   # of a step, by the length of answers
BASE_STEPS, IDS = 120, 320              # of the two bases made here; ids of the byte-level BPE
ASKED = 100                             # prompts of a measurement
MARGIN = 0.02                           # "as SFT": within two points of it
ADVICE = "Run python -m lab.stopping first"
TITLE = "mean p(<|end|>) after a right answer"


# ---- the five losses -----------------------------------------------------------------------------
def losses_of(batch: Batch) -> tuple:
    """(s, nll (B,T), 0 off the answer; end (B,T) bool, the place of <|end|>)."""
    s = batch.seqs["answer"]
    nll = (-s.logp).masked_fill(s.mask == 0, 0)
    last = s.mask.cumsum(-1) == s.mask.sum(-1, keepdim=True)
    return s, nll, last & (s.mask > 0)


def mean_1(w: Tensor, on: Tensor) -> Tensor:
    """Weights (B,T), rescaled to mean 1 over the places `on`."""
    return w * on * on.sum(-1, keepdim=True) / (w * on).sum(-1, keepdim=True).clamp_min(1e-9)


def last_constant(batch: Batch, hp: ift.IFT) -> tuple[Tensor, dict]:
    """Released, but no gradient through the weight of the last token."""
    s, nll, end = losses_of(batch)
    w = ift.future_sum(nll, hp.gamma) * s.mask
    w = torch.where(end, w.detach(), w)
    return s.mean(nll * mean_1(w, s.mask)).sum() / batch.rows, {}


def plain_end(batch: Batch, hp: ift.IFT) -> tuple[Tensor, dict]:
    """Released on all tokens but the last, whose own loss is SFT's; no weight reads it."""
    s, nll, end = losses_of(batch)
    words = s.mask.masked_fill(end, 0)
    w = mean_1(ift.future_sum(nll * words, hp.gamma), words)
    return s.mean(torch.where(end, nll, nll * w)).sum() / batch.rows, {}


def with_loss(loss: Callable) -> Objective:
    return replace(OBJECTIVES["ift"], loss=loss)


START, SFT, RELEASED = "untrained base", "SFT", "released"
LAST, DETACHED, PLAIN = "last weight constant", "detached", "plain end"
ARMS: dict[str, tuple] = {              # name: (objective, its settings)
    SFT: (OBJECTIVES["sft"], OBJECTIVES["sft"].hp(reduction="sequence")),
    RELEASED: (OBJECTIVES["ift"], ift.IFT("released")),
    LAST: (with_loss(last_constant), ift.IFT("released")),
    DETACHED: (OBJECTIVES["ift"], ift.IFT()),
    PLAIN: (with_loss(plain_end), ift.IFT("released")),
}
NAMES = {RELEASED: "IFT as released", DETACHED: "IFT (detached weights)"}   # on pages
COMPARED = ((RELEASED, START), (LAST, START), (DETACHED, START), (LAST, RELEASED),
            (DETACHED, RELEASED))


# ---- the three places ----------------------------------------------------------------------------
@dataclass(frozen=True)
class Place:
    base: Callable[[], tuple[GPT, Tokenizer]]
    things: dict[int, tuple[int, int]]  # tokens of an answer, about: fewest and most things


def words_base() -> tuple[GPT, Tokenizer]:
    return shipped_base(), nano()


def bytes_tokenizer() -> Tokenizer:
    texts = (" " + turn.text for document in corpus(1, 3000) for turn in document)
    ranks = train_bpe(count_words(texts, NANO_PATTERN), IDS - len(CONTROL))
    return Tokenizer("bytes", ranks, NANO_PATTERN)


def bytes_base() -> tuple[GPT, Tokenizer]:
    tok = bytes_tokenizer()

    def make(place: Path) -> None:
        model = GPT(replace(NANO, vocab_size=tok.n_vocab), seed=0)
        learn_corpus(model, tok)
        save_model(place, model, tok)
    return read_gpt(made_once(KEEP / f"stopping-bytes-{VERSION}", make, "model.safetensors")), tok


def llama_base() -> tuple[GPT, Tokenizer]:
    from transformers import LlamaConfig, LlamaForCausalLM

    from nanouft.hf.model import TransformersModel
    tok = nano()

    def make(place: Path) -> None:
        torch.manual_seed(0)
        net = LlamaForCausalLM(LlamaConfig(
            vocab_size=tok.n_vocab, hidden_size=128, intermediate_size=344, num_hidden_layers=4,
            num_attention_heads=4, max_position_embeddings=512, tie_word_embeddings=True,
            initializer_range=0.08))
        learn_corpus(TransformersModel(net.eval(), 512), tok)
        net.save_pretrained(str(place))
    folder = made_once(KEEP / f"stopping-llama-{VERSION}", make, "model.safetensors")
    return TransformersModel(LlamaForCausalLM.from_pretrained(str(folder)).eval(), 512), tok


def learn_corpus(model: GPT, tok: Tokenizer) -> None:
    """A short pretraining on NanoWorld's corpus, in place."""
    cfg = pretrain.Pretrain()
    source = pretrain.Texts(pretrain.documents(cfg, 512, tok, BASE_STEPS))
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, betas=(0.9, 0.98))
    for _ in steps(model, pretrain.NEXT_TOKEN, None, source, optimizer, range(BASE_STEPS),
                   clip=1.0, schedule=pretrain.schedule(cfg.lr, BASE_STEPS)):
        pass


PLACES = {"words": Place(words_base, {8: (5, 7), 32: (29, 31)}),
          "byte-level BPE": Place(bytes_base, {8: (2, 3), 32: (9, 10)}),
          "Llama": Place(llama_base, {8: (5, 7), 32: (29, 31)})}


def rows(things: tuple[int, int], n: int, seed: int) -> list[Row]:
    """Lists of things: which ones is free, and nobody can guess them. After "and" and the last one,
    which the prompt names, the answer is over."""
    rng, out = random.Random(f"things {seed}"), []
    for _ in range(n):
        named = rng.sample(ITEMS, rng.randint(*things))
        out.append(Row((Turn("user", f"Name some things. End on {named[-1]}."),),
                       (Turn("assistant", " ".join([*named[:-1], "and", named[-1]])),)))
    return out


# ---- a cell --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Job:
    place: str
    tokens: int
    arm: str
    seed: int

    @property
    def key(self) -> str:
        about = [VERSION, self.place, self.tokens, self.arm, self.seed, STEPS, ROWS, RATE,
                 BASE_STEPS, IDS, ASKED]
        return checksum(repr(about))[:16]

    def __str__(self) -> str:
        return f"{self.place}, {self.tokens} tokens, {self.arm}, seed {self.seed}"


def run_job(job: Job) -> dict:
    about = {"key": job.key, "place": job.place, "tokens": job.tokens, "arm": job.arm,
             "seed": job.seed}
    return finished(about, lambda folder: trained_and_measured(job))


def trained_and_measured(job: Job) -> dict:
    place = PLACES[job.place]
    model, tok = place.base()
    things = place.things[job.tokens]
    if job.arm != START:
        train(model, tok, job, things)
    return measured(model.eval(), tok, rows(things, ASKED, 1_000_000))


def train(model: GPT, tok: Tokenizer, job: Job, things: tuple[int, int]) -> None:
    """In place."""
    objective, hp = ARMS[job.arm]
    made = objective.rows(rows(things, STEPS * ROWS[job.tokens], job.seed), hp)
    data, _ = encode(made, tok, model.cfg.n_ctx)
    source = Epochs(data, ROWS[job.tokens], STEPS, job.seed, tok.pad)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95),
                                  weight_decay=0.0)
    model.train()
    for _ in steps(model, objective, hp, source, optimizer, range(STEPS), clip=1.0,
                   schedule=warmup_cosine(RATE, STEPS, 0.1), device=Device("cpu", "fp32")):
        pass


@torch.no_grad()
def measured(model: GPT, tok: Tokenizer, asked: list[Row]) -> dict:
    """{"end": mean p(<|end|>) after right answers, "stops": share of greedy answers that stop,
    "length": mean tokens of a right answer, with <|end|>}."""
    gold = [row.answer[0].text for row in asked if row.answer]
    s = seqs_of(gold, asked, model, tok)
    at = s.mask.bool() & (s.targets == tok.end)
    p = model(s.inputs, want="logp", targets=s.targets, at=at)[at].exp()
    room = 8 + int(s.mask.sum(-1).max())
    answers = answer_rows(model, tok, asked, max_new=room)
    return {"end": round(float(p.mean()), 6),
            "stops": sum(stops(a, tok) for a in answers) / len(asked),
            "length": round(float(s.mask.sum(-1).mean()), 2)}


def starts() -> list[Job]:
    """The untrained bases: no training, so one seed."""
    return [Job(place, tokens, START, 0) for place in PLACES for tokens in (8, 32)]


# ---- from cells to words -------------------------------------------------------------------------
def judged(done: dict[str, dict]) -> dict:
    """stopping.json: per place and length the untrained base's two numbers, each arm's [mean, half]
    of them and how far its p(<|end|>) is from SFT's, and the differences of COMPARED."""
    out = []
    for start in starts():
        cells = {arm: results_of([replace(start, arm=arm, seed=s) for s in SEEDS], done, ADVICE)
                 for arm in ARMS}
        (untrained,) = results_of([start], done, ADVICE)
        cells[START] = [untrained] * len(SEEDS)
        out.append({"place": start.place, "tokens": start.tokens,
                    "length": cells[SFT][0]["length"], "seeds": len(SEEDS),
                    START: {name: untrained[name] for name in ("end", "stops")},
                    "arms": {arm: against_sft(cells[arm], cells[SFT]) for arm in ARMS},
                    "compared": [compared(cells, *pair) for pair in COMPARED]})
    return {"steps": STEPS, "rate": RATE, "margin": MARGIN, "places": out}


def difference(cells: list[dict], other: list[dict]) -> list[float]:
    """[mean, half] of p(<|end|>), seed by seed."""
    return [round(x, 6) for x in interval([c["end"] - o["end"] for c, o in zip(cells, other)])]


def against_sft(cells: list[dict], sft: list[dict]) -> dict:
    """Below (the whole interval below 0), as SFT (within two points), or undecided."""
    mean, half = gap = difference(cells, sft)
    word = ("below" if mean + half < 0 and mean < -MARGIN else "as SFT"
            if -MARGIN < mean - half and mean + half < MARGIN else "undecided")
    return {name: [round(x, 6) for x in interval([c[name] for c in cells])]
            for name in ("end", "stops")} | {"minus SFT": gap, "word": word}


def compared(cells: dict[str, list[dict]], arm: str, other: str) -> dict:
    mean, half = gap = difference(cells[arm], cells[other])
    word = "higher" if mean - half > 0 else "lower" if mean + half < 0 else "undecided"
    return {"arm": arm, "other": other, "gap": gap, "word": word}


def counts(data: dict) -> dict[str, dict[str, int]]:
    """In how many places: {"released - untrained base": {"lower": 3, ...}, "stops": {...}}."""
    out: dict = {"of": len(data["places"])}
    for p in data["places"]:
        for x in p["compared"]:
            words = out.setdefault(f"{x['arm']} - {x['other']}",
                                   dict.fromkeys(("higher", "lower", "undecided"), 0))
            words[x["word"]] += 1
        for arm, a in p["arms"].items():
            words = out.setdefault(arm, dict.fromkeys(("below", "as SFT", "undecided", "half"), 0))
            words[a["word"]] += 1
            words["half"] += a["stops"][0] >= 0.5       # at least half of the answers stop
    return out


def page(data: dict) -> str:
    levels = [[p["place"], f"{p['length']:.0f}",
               f"{p[START]['end']:.2f}; {100 * p[START]['stops']:.0f} %", *(
                   f"{format_interval(*a['end'], 1, 2)}; {100 * a['stops'][0]:.0f} %"
                   f"{'' if arm == SFT else ': ' + a['word']}" for arm, a in p["arms"].items())]
              for p in data["places"]]
    gaps = [[p["place"], f"{p['length']:.0f}", *(
        f"{x['gap'][0]:+.3f} ± {x['gap'][1]:.3f}: {x['word']}" for x in p["compared"])]
        for p in data["places"]]
    name = {arm: NAMES.get(arm, arm) for arm in (START, *ARMS)}
    titles = ["place", "tokens", *name.values()]
    pairs = ["place", "tokens", *(f"{name[arm]} minus {name[other]}" for arm, other in COMPARED)]
    return read_template("stopping.md")[0].format(
        steps=data["steps"], rate=data["rate"], seeds=len(SEEDS), n=counts(data),
        levels="\n".join(markdown_table(titles, levels)),
        gaps="\n".join(markdown_table(pairs, gaps)))


def picture(data: dict, file: Path) -> Path:
    fig, axes = plt.subplots(1, 2, figsize=(13, 4.8), sharey=True)
    for ax, tokens in zip(axes, (8, 32)):
        here = [p for p in data["places"] if p["tokens"] == tokens]
        wide = 0.84 / len(ARMS)
        for k, (arm, hatch) in enumerate(zip(ARMS, ("", "//", "..", "xx", "\\\\"))):
            x = [i + wide * (k - 2) for i in range(len(here))]
            ax.bar(x, [p["arms"][arm]["end"][0] for p in here], 0.94 * wide, color=LINES[k],
                   hatch=hatch, ec="white", label=NAMES.get(arm, arm))
            ax.errorbar(x, [p["arms"][arm]["end"][0] for p in here], fmt="none", ecolor="black",
                        yerr=[min(1.0, p["arms"][arm]["end"][1]) for p in here], capsize=2, lw=1)
        for i, p in enumerate(here):
            ax.plot([i - 0.5 * 0.84, i + 0.5 * 0.84], [p[START]["end"]] * 2, color="black",
                    ls="--", lw=2, label=START if i == 0 else None)
        ax.set_xticks(range(len(here)), [p["place"] for p in here])
        ax.set(title=f"answers of about {tokens} tokens", ylim=(0, 1.08))
    axes[0].set_ylabel(TITLE)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncol=6, frameon=False)
    return save(fig, file, rect=(0, 0.07, 1, 1))


def write(folder: Path, done: dict[str, dict]) -> list[Path]:
    data = judged(done)
    write_json(folder / "stopping.json", data)
    write_text(folder / "stopping.md", page(data))
    return [folder / "stopping.json", folder / "stopping.md",
            picture(data, folder / "stopping.png")]


@dataclass
class Stopping:
    write: bool = False             # from finished cells; no training
    workers: int = 1                # processes of one thread each
    out: str = "docs/results"       # folder of stopping.jsonl, .json, .md and .png


def main(argv=None) -> int:
    cfg, _ = config.parse(Stopping, argv, "python -m lab.stopping", __doc__)
    file = Path(cfg.out) / "stopping.jsonl"
    if not cfg.write:
        with open_store(file) as store:
            wanted = [replace(start, arm=arm, seed=seed)
                      for seed in SEEDS for start in starts() for arm in ARMS]
            run_missing(wanted + starts(), store, cfg.workers, run_job)
    print(*write(Path(cfg.out), read_lines(file)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
