"""Pretraining: make the base that every fine-tuning run starts from.

    python -m nanouft.pretrain                                  # NanoWorld, about 6 minutes
    python -m nanouft.pretrain --corpus my.txt --out out/mine   # any text: a tokenizer and a base
    python -m nanouft.train --init out/mine ...
    python -m nanouft.pretrain --resume out/mine                # after Ctrl-C

Next-token prediction over plain documents:
    L = -mean log p_t
NanoWorld rows are 128 tokens and start at a document.
Learning is fastest if every row stands at position 0, but that leaves the other positions of the
512-token context untrained: so in the last 30 % of the steps half of the rows stand elsewhere.
Your text is cut into rows of the full context; a tokenizer is trained on it first. The files hold
plain text, JSON lines {"text": ...}, or questions and answers as for `train --data`.

The shipped base: --out out/shipped --half; then copy config.json, model.safetensors and run.json to
nanouft/assets/base/
"""
import json
import math
import re
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nanouft.data.batches import MOST_CTX
from nanouft.data.bpe import count_words, train_bpe
from nanouft.data.tokenizer import CONTROL, END, Tokenizer, nano
from nanouft.errors import Diverged, UserError, flag, in_range, say
from nanouft.eval.held_out import mean_loss
from nanouft.eval.report import field_flags
from nanouft.files import containers
from nanouft.gpt import GPT, SIZES, GPTConfig
from nanouft.loop import Device, Schedule, Source, steps
from nanouft.models.save import save_model
from nanouft.models.tokenizer_files import GPT2_PATTERN
from nanouft.objective import Batch, Objective, Seqs
from nanouft.run import checkpoints, command, config, devices, runs
from nanouft.run.storage import checksum, write_json
from nanouft.run.words import one_line
from nanouft.sampling import generate
from nanouft.seeds import document_seed, held_document_seed, window_seed
from nanouft.world.documents import corpus, endless_rows, token_rows

BASE_VERSION = 1            # raised by hand when the shipped base is made again
ROW = 128                   # tokens of a NanoWorld row


@dataclass
class Pretrain:
    corpus: list[str] | None = None     # your texts: files or folders [NanoWorld's corpus]
    prompt_field: str | None = None     # of --corpus: field with the prompt, if it is not detected
    response_field: str | None = None   # of --corpus: field with the response
    vocab: int | None = None        # of --corpus: size of its tokenizer [1,024 to 4,096, by length]
    ctx: int | None = None          # of --corpus: longest sequence in tokens [512 or 1,024]
    width: int | None = None        # width of the model, a multiple of 4 [128: 1M parameters]
    steps: int | None = None        # optimizer steps [3300 on NanoWorld, 1200 on a file]
    tokens: int = 2048              # tokens per step
    lr: float = 2e-3                # peak learning rate
    seed: int = 0                   # seed of the weights, the documents and their order
    device: str = "auto"            # auto | cpu | cuda | mps
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"     # precision of the forward
    threads: int | None = None      # CPU threads
    out: str | None = None          # folder of the result [out/base]
    half: bool = False              # store fp16, as the shipped base: half the size
    resume: str | None = None       # go on with the interrupted run in this folder; no other flag

    def check(self) -> None:
        in_range(self, "steps", low=1)
        in_range(self, "tokens", low=1, high=1_000_000)
        in_range(self, "lr", above=True)
        if self.width is not None and self.width not in range(16, 1025, 4):
            raise UserError(f"--width {self.width}: give a multiple of 4 from 16 to 1024")
        in_range(self, "seed")
        in_range(self, "vocab", low=256 + len(CONTROL), high=100_000)
        in_range(self, "ctx", low=16, high=MOST_CTX)
        for name in ("vocab", "ctx", "prompt_field", "response_field"):
            if self.corpus is None and getattr(self, name):
                raise UserError(f"{flag(name)} belongs to --corpus: "
                                "NanoWorld's tokenizer and context are fixed")


# ---- the user's texts ----------------------------------------------------------------------------
def read_texts(cfg: Pretrain) -> tuple[list[str], str]:
    """(texts, what they are: "text", "documents" or "rows"), of all files."""
    texts: list[str] = []
    kinds = set()
    for given in cfg.corpus or []:
        for path in containers.sources(given, (".txt", ".md")):
            found, kind = read_file(cfg, path)
            texts += found
            kinds.add(kind)
    several = len(kinds) > 1 or kinds == {"text"} and len(texts) > 1
    return texts, "documents" if several else kinds.pop()


def read_file(cfg: Pretrain, path: str) -> tuple[list[str], str]:
    """JSON, CSV and parquet hold documents in a field "text", or rows for `train --data`: questions
    and their (better) answers. All else is one text."""
    if not Path(path).exists():
        raise UserError(f"--corpus {path}: no such file")
    if not containers.ends(path, ".csv", ".tsv", ".parquet") and not Path(path).is_dir():
        text = containers.text_of(containers.load(path)[0], path)
        if not re.match(r'\s*\[?\s*\{\s*"', text):
            return [text], "text"
    items, kind = containers.objects(path)
    if not any("text" in item for _, item in items):
        from nanouft.files.read import read  # only for such files
        rows, found = read([path], cfg.prompt_field, cfg.response_field)
        say(*found, sep="\n")
        talks = [row.prompt + (row.answer or row.chosen or ()) for row in rows]
        return ["\n\n".join(turn.text for turn in talk) for talk in talks], "rows"
    out = []
    for where, item in items:
        if not isinstance(item.get("text"), str):
            raise UserError(f'{where}: has no "text", and other rows of this file have one; '
                            "add it, or remove the row")
        out.append(item["text"].encode("utf-8", "replace").decode())    # half a surrogate: "?"
    say(f"{path}: {len(out):,} texts ({kind}); each ends with {END}")
    return out, "documents"


def read_corpus(cfg: Pretrain) -> tuple[np.ndarray, Tokenizer, str]:
    """(N,) ids of all texts, the tokenizer trained on them, and what they are."""
    texts, kind = read_texts(cfg)
    letters = sum(map(len, texts))
    size = cfg.vocab or next((v for v in (1024, 2048) if letters < 200 * v), 4096)
    words = count_words(texts, GPT2_PATTERN)
    tok = Tokenizer("own", train_bpe(words, size - len(CONTROL), show=True), GPT2_PATTERN)
    ids = []
    for text in texts:
        ids += tok.encode(text) + ([tok.end] if kind != "text" else [])
    say(f"tokenizer: {tok.n_vocab:,} ids, "
        f"{letters / max(1, len(ids)):.2f} characters a token of this text")
    return np.array(ids, np.int64), tok, kind


# ---- batches -------------------------------------------------------------------------------------
class Texts:
    """A source of steps from rows that are drawn one after the other."""
    stride = 1
    stats: dict[str, float] = {}

    def __init__(self, rows: Iterator[Batch]):
        self.rows, self.next = rows, 0

    def __call__(self, step: int) -> Batch:
        for _ in range(self.next, step):        # a resumed run begins later
            next(self.rows)
        self.next = step + 1
        return next(self.rows)


def documents(cfg: Pretrain, n_ctx: int, tok: Tokenizer, steps: int) -> Iterator[Batch]:
    """Rows of NanoWorld's corpus, written while the model trains; every other one of the last 30 %
    of the steps stands at a random offset."""
    rng = np.random.default_rng(window_seed(cfg.seed))
    rows = endless_rows(ROW + 1, document_seed(cfg.seed), tok)
    B = max(1, cfg.tokens // ROW)
    step = 0
    while True:
        offset = rng.integers(0, n_ctx - ROW + 1, (B, 1))
        offset = offset * (np.arange(B)[:, None] % 2) * (step > 0.7 * steps)
        ids = torch.tensor(list(islice(rows, B)))
        yield text_batch(ids, torch.from_numpy(offset + np.arange(ROW)))
        step += 1


def windows(cfg: Pretrain, n_ctx: int, ids: np.ndarray) -> Iterator[Batch]:
    """Random pieces of one long text, as long as the context."""
    rng = np.random.default_rng(window_seed(cfg.seed))
    B = max(1, cfg.tokens // n_ctx)
    while True:
        starts = rng.integers(0, len(ids) - n_ctx, B)
        rows = np.stack([ids[start:start + n_ctx + 1] for start in starts])
        yield text_batch(torch.from_numpy(rows), torch.arange(n_ctx).expand(B, n_ctx))


def text_batch(ids: Tensor, pos: Tensor) -> Batch:
    """(B,T+1) ids and (B,T) positions as a step in which every token is trained on."""
    every = torch.ones(pos.shape)
    text = Seqs(ids[:, :-1], ids[:, 1:], every, every, extra={"pos": pos})
    return Batch({"text": text}, rows=len(ids), tokens={"text": pos.numel()})


def source_of(cfg: Pretrain, gpt: GPTConfig, tok: Tokenizer, steps: int,
              ids: np.ndarray | None) -> tuple[Texts, Tensor]:
    """(source of the steps, held-out rows (n,T+1)). Of a text the last 20th is held out."""
    if ids is None:
        held = token_rows(64, ROW + 1, held_document_seed(cfg.seed), tok)
        return Texts(documents(cfg, gpt.n_ctx, tok, steps)), torch.from_numpy(held)
    T = gpt.n_ctx
    if len(ids) < 4 * (T + 1):
        raise UserError(f"--corpus {' '.join(cfg.corpus or [])}: {len(ids):,} tokens are too few "
                        f"for a context of {T}: {4 * (T + 1):,} are needed; add text, or give "
                        f"--ctx {max(16, len(ids) // 4 - 1)}")
    cut = len(ids) - max(T + 1, len(ids) // 20)
    train, test = ids[:cut], ids[cut:]
    rows = [test[s:s + T + 1] for s in range(0, len(test) - T, T + 1)][:16]
    return Texts(windows(cfg, T, train)), torch.from_numpy(np.stack(rows))


# ---- training ------------------------------------------------------------------------------------
def read_text(model: GPT, batch: Batch, hp: None) -> None:
    """Write the log-probs of all tokens."""
    s = batch.seqs["text"]
    s.logp = model(s.inputs, want="logp", targets=s.targets, pos=s.extra["pos"])


def next_token_loss(batch: Batch, hp: None) -> tuple[Tensor, dict]:
    return -batch.seqs["text"].logp.mean(), {}


NEXT_TOKEN = Objective("Language Models are Unsupervised Multitask Learners, Radford et al. 2019",
                       data="text", hp=type(None), loss=next_token_loss, lr=2e-3,
                       forward=read_text)


def schedule(peak: float, steps: int) -> Schedule:
    """Up over 60 steps, constant, then linear down to 0 over the last 60 % of them."""
    def rate(step: int) -> tuple[float, float]:
        up = min(1.0, (step + 1) / 60)
        return peak * up * min(1, (steps - step) / (0.6 * steps)), up
    return rate


def make_optimizer(model: GPT, cfg: Pretrain, device: Device) -> torch.optim.AdamW:
    """The matrices of the layers decay; embeddings, biases and LayerNorms do not."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.dim() == 2 and name.startswith("h.")]
    others = [p for name, p in named if p.dim() != 2 or not name.startswith("h.")]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=cfg.lr, betas=(0.9, 0.98), fused=device.kind != "mps")


def fit(folder: Path, cfg: Pretrain, model: GPT, source: Source, total: int,
        device: Device) -> None:
    """Train `model` in place. A signal saves the step that it interrupts."""
    optimizer, scaler = make_optimizer(model, cfg, device), device.scaler()
    saved: dict = checkpoints.load_step(folder, model, optimizer) if cfg.resume else {"step": 0}
    if saved.get("scaler"):
        scaler.load_state_dict(saved["scaler"])
    start, average = saved["step"], None
    bar = tqdm(range(start, total), initial=start, total=total, desc="pretrain", mininterval=1.0)
    loop = steps(model, NEXT_TOKEN, None, source, optimizer, bar, clip=1.0, device=device,
                 schedule=schedule(cfg.lr, total), scaler=scaler)
    with command.after_the_step(True) as signal:
        for step in loop:
            n = step.number
            if n % 20 == 1 or n == total:       # reading each loss would make a GPU wait
                loss = step.sums["loss"].item()
                if not math.isfinite(loss):
                    raise Diverged(f"loss is {loss} at step {n}; lower --lr {cfg.lr}")
                average = loss if average is None else 0.8 * average + 0.2 * loss
                bar.set_postfix(loss=f"{average:.3f}")
            if signal.asked:
                extra = {"scaler": scaler.state_dict()}
                checkpoints.save_step(folder, n, model, optimizer, extra)
                break


# ---- the command ---------------------------------------------------------------------------------
def base_key(cfg: Pretrain, gpt: GPTConfig, steps: int, tok: Tokenizer) -> str:
    """A hash of what a base is made of: the corpus (NanoWorld's first 2,000 documents, or the whole
    file), shape, settings, seed and BASE_VERSION; not the code."""
    documents = corpus(document_seed(cfg.seed), 2000)
    made_of = containers.parts(cfg.corpus) if cfg.corpus else ["".join(map(str, documents))]
    about = [BASE_VERSION, checksum(*made_of), asdict(gpt), steps, cfg.tokens, cfg.lr, cfg.seed,
             tok.name]
    return checksum(json.dumps(about))[:16]


def continue_texts(model: GPT, tok: Tokenizer, held: Tensor) -> None:
    """Print how the model continues the beginnings of two held-out rows: is it English already?"""
    starts = [row[:12].tolist() for row in held[:2]]
    answers = generate(model, starts, stop=tok.end, pad=tok.pad, max_new=32)
    for start, answer in zip(starts, answers):
        say(f"  {one_line(tok.decode(start))} -> {one_line(tok.decode(answer.ids))}")


def pretrain(cfg: Pretrain) -> Path:
    started, device = time.time(), devices.pick(cfg.device, cfg.dtype, cfg.threads)
    total = cfg.steps if cfg.steps is not None else 3300 if cfg.corpus is None else 1200
    cfg.check()
    if not cfg.resume:
        runs.check_out(cfg.out)                                 # before anything slow
    gpt = replace(SIZES["nano"])
    if cfg.width:
        gpt.n_embd, gpt.init_std = cfg.width, gpt.init_std * (gpt.n_embd / cfg.width) ** 0.5
    if cfg.corpus is None:
        ids, tok, kind = None, nano(), ""
    else:
        ids, tok, kind = read_corpus(cfg)
        gpt.n_ctx = cfg.ctx or (1024 if len(ids) > 40_000 else gpt.n_ctx)
    gpt.vocab_size = tok.n_vocab
    source, held = source_of(cfg, gpt, tok, total, ids)         # UserError before a folder is made
    held = held.to(device.name)
    about = {"command": "pretrain", "config": asdict(cfg), "tokenizer": tok.name,
             "base_version": BASE_VERSION, "key": base_key(cfg, gpt, total, tok)}
    with runs.open_folder(cfg, about, "base", "the text or the settings", device) as folder:
        say(f"pretraining {gpt.n_layer} layers x {gpt.n_embd} on "
            f"{', '.join(cfg.corpus or ['NanoWorld'])}, {total:,} steps of {cfg.tokens:,} "
            f"tokens, {device.name} {device.dtype} -> {folder}")
        model = GPT(gpt, seed=cfg.seed).to(device.name)
        before = mean_loss(model, held)
        fit(folder, cfg, model, source, total, device)
        after = mean_loss(model, held)
        save_model(folder, model, tok, half=cfg.half)
        losses = {"before": before, "after": after}
        write_json(folder / "run.json", {**about, "held_out_loss": losses})
        say(f"held-out loss {before:.3f} -> {after:.3f} nats per token; "
            f"{time.time() - started:.0f} s; saved in {folder}")
        flags = runs.chained(folder, "sft")
        if cfg.corpus:
            continue_texts(model, tok, held)
            data = cfg.corpus if kind == "rows" else ["MY.jsonl"]
            flags += ["--data", *data, *field_flags(cfg)]
        say("Next:\n  python -m nanouft.train --objective sft " + shlex.join(flags))
        return folder


def main(argv=None) -> int:
    cfg, given = config.parse(Pretrain, argv, "python -m nanouft.pretrain", __doc__)
    pretrain(runs.reopen(cfg.resume, "pretrain", Pretrain, given) if cfg.resume else cfg)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
