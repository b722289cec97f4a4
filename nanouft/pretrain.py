"""Pretraining: make the base that every fine-tuning run starts from.

    python -m nanouft.pretrain                                   # NanoWorld's corpus, about 6 minutes on two idle cores
    python -m nanouft.pretrain --corpus my.txt --out out/mine    # any text, about 8 minutes: a tokenizer and a base
    python -m nanouft.train --init out/mine ...
    python -m nanouft.pretrain --resume out/mine                 # after Ctrl-C, which keeps the last whole step

Next-token prediction over plain documents, AdamW, warm-up, constant, linear decay. NanoWorld rows are 128 tokens and
start at a document. Learning is fastest when every row stands at position 0, but then the other positions of the
512-token context stay untrained; so in the last 30 % of the steps half of the rows stand at random offsets.
A text is cut into rows of the full context. Its tokenizer is learnt from it first and stands in the folder. JSON lines
{"text": ...} are texts, too, and so are the questions and answers of a file for `train --data`.

The shipped base: --out out/shipped --half, then config.json, model.safetensors and run.json go to nanouft/assets/base/
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

from nanouft.data import containers
from nanouft.data.batches import MOST_CTX
from nanouft.data.bpe import count_words, train_bpe
from nanouft.data.tokenizer import CONTROL, END, Tokenizer
from nanouft.data.tokenizer_files import GPT2_PATTERN
from nanouft.gpt import GPT, SIZES, GPTConfig
from nanouft.look.held_out import mean_loss
from nanouft.models.generate import generate
from nanouft.models.save import save_model
from nanouft.shell import checkpoints, config, devices, runs
from nanouft.shell.errors import Diverged, UserError, flag, in_range
from nanouft.shell.files import checksum, write_json
from nanouft.shell.streams import document_seed, held_document_seed, window_seed
from nanouft.shell.text import one_line, visible
from nanouft.training.schedule import warmup
from nanouft.world.documents import corpus, endless_rows, token_rows

BASE_VERSION = 1            # raised by hand when the shipped base is made again


@dataclass
class Pretrain:
    corpus: list[str] | None = None     # texts (UTF-8), JSON lines {"text": ...}, files for --data, folders of them
    prompt_field: str | None = None     # of such a file: field with the prompt, where it is not recognised
    response_field: str | None = None   # ... and with the response
    vocab: int | None = None        # of --corpus: ids of its tokenizer [1,024 to 4,096, by its length]
    ctx: int | None = None          # of --corpus: longest sequence, in tokens [1,024; of a small text 512]
    width: int | None = None        # numbers of a state, a multiple of 4 [128: about 1M parameters]
    steps: int | None = None        # optimizer steps [3300 on NanoWorld, 1200 on a file]
    tokens: int = 2048              # tokens a step
    lr: float = 2e-3                # peak learning rate
    seed: int = 0                   # of the weights, the documents and their order
    device: str = "auto"            # auto | cpu | cuda | mps
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"     # precision of the forward
    threads: int | None = None      # CPU threads
    out: str | None = None          # folder of the result [out/base]
    half: bool = False              # store fp16: half the size, the form in which the base is shipped
    resume: str | None = None       # go on with the interrupted run in this folder; takes no other flag

    def check(self) -> None:
        in_range(self, "steps", low=1)
        in_range(self, "tokens", low=1, high=1_000_000)
        in_range(self, "lr", above=True)
        if self.width is not None and self.width not in range(16, 1025, 4):
            raise UserError(f"--width {self.width}: give a multiple of 4 from 16 to 1024")
        in_range(self, "seed")
        in_range(self, "vocab", low=256 + len(CONTROL), high=100_000)
        in_range(self, "ctx", low=16, high=MOST_CTX)
        of_corpus = [name for name in ("vocab", "ctx", "prompt_field", "response_field") if getattr(self, name)]
        if self.corpus is None and of_corpus:
            raise UserError(f"{flag(of_corpus[0])} belongs to --corpus: NanoWorld's tokenizer and context are fixed")


# ---- a text of the user's --------------------------------------------------------------------------------------------
def read_texts(cfg: Pretrain) -> tuple[list[str], str]:
    """(texts, what they are: "text", "documents", "rows"), of all files."""
    texts, kinds = [], set()
    for path in [file for given in cfg.corpus for file in containers.sources(given, (".txt", ".md"))]:
        found, kind = read_file(cfg, path)
        texts += found
        kinds.add(kind)
    return texts, "documents" if len(kinds) > 1 or kinds == {"text"} and len(texts) > 1 else kinds.pop()


def read_file(cfg: Pretrain, path: str) -> tuple[list[str], str]:
    """JSON, CSV and parquet hold documents in a field "text", or rows for `train --data`: questions and their (better)
    answers; all else is one text. Each may be packed."""
    if not Path(path).exists():
        raise UserError(f"--corpus {path}: no such file")
    if not containers.ends(path, ".csv", ".tsv", ".parquet") and not Path(path).is_dir():
        text = containers.text_of(containers.load(path)[0], path)
        if not re.match(r'\s*\[?\s*\{\s*"', text):
            return [text], "text"
    items, kind = containers.objects(path)
    if not any("text" in item for _, item in items):
        from nanouft.data.read import read  # only for such files
        rows, found = read([path], cfg.prompt_field, cfg.response_field)
        print(*found, sep="\n")
        talks = [row.prompt + (row.answer or row.chosen or ()) for row in rows]
        return ["\n\n".join(turn.text for turn in talk) for talk in talks], "rows"
    out = []
    for where, item in items:
        if not isinstance(item.get("text"), str):
            raise UserError(f'{where}: has no "text", and other rows of this file have one; add it, or remove the row')
        out.append(item["text"].encode("utf-8", "replace").decode())            # half a surrogate has no bytes
    print(visible(f"{path}: {len(out):,} texts ({kind}); each ends with {END}"))
    return out, "documents"


def read_corpus(cfg: Pretrain) -> tuple[np.ndarray, Tokenizer, str]:
    """(N,) ids of the whole text, the tokenizer that was learnt from it, and what the text is (`read_texts`)."""
    texts, kind = read_texts(cfg)
    letters = sum(map(len, texts))
    size = cfg.vocab or next((v for v in (1024, 2048) if letters < 200 * v), 4096)
    ranks = train_bpe(count_words(texts, GPT2_PATTERN), size - len(CONTROL), show=True)
    tok = Tokenizer("own", ranks, GPT2_PATTERN)
    ids = []
    for text in texts:
        ids += tok.encode(text) + ([tok.end] if kind != "text" else [])
    print(f"tokenizer: {tok.n_vocab:,} ids, {letters / max(1, len(ids)):.2f} characters a token of this text")
    return np.array(ids, np.int64), tok, kind


def batches(cfg: Pretrain, gpt: GPTConfig, tok: Tokenizer, steps: int,
            ids: np.ndarray | None) -> tuple[Iterator[tuple[Tensor, Tensor]], Tensor]:
    """-> (iterator of (ids (B,T+1), positions (B,T)), held-out rows)."""
    rng = np.random.default_rng(window_seed(cfg.seed))
    if ids is None:
        T = 128
        B = max(1, cfg.tokens // T)
        rows = endless_rows(T + 1, document_seed(cfg.seed), tok)       # written while it trains: --steps may be huge

        def draw():
            for i in range(steps):
                offset = rng.integers(0, gpt.n_ctx - T + 1, (B, 1)) * (np.arange(B)[:, None] % 2) * (i > 0.7 * steps)
                yield torch.tensor(list(islice(rows, B))), torch.from_numpy(offset + np.arange(T))
        return draw(), torch.from_numpy(token_rows(64, T + 1, held_document_seed(cfg.seed), tok))
    T = gpt.n_ctx
    held = max(T + 1, len(ids) // 20)
    if len(ids) < 4 * (T + 1):
        raise UserError(f"--corpus {' '.join(cfg.corpus)}: {len(ids):,} tokens are too few for a context of {T}: "
                        f"{4 * (T + 1):,} are needed; add text, or give --ctx {max(16, len(ids) // 4 - 1)}")
    train, test, B = ids[:-held], ids[-held:], max(1, cfg.tokens // T)

    def draw():
        for _ in range(steps):
            starts = rng.integers(0, len(train) - T, B)
            yield torch.from_numpy(np.stack([train[s:s + T + 1] for s in starts])), torch.arange(T).expand(B, T)
    return draw(), torch.from_numpy(np.stack([test[s:s + T + 1] for s in range(0, len(test) - T, T + 1)][:16]))


def base_key(cfg: Pretrain, gpt: GPTConfig, steps: int, tok: Tokenizer) -> str:
    """What a base is made of: the corpus (NanoWorld's first 2,000 documents, or the whole file), shape, settings, seed
    and BASE_VERSION. Not the code: an edit that leaves these alone does not ask for another six minutes."""
    documents = corpus(document_seed(cfg.seed), 2000)
    made_of = containers.parts(cfg.corpus) if cfg.corpus else ["".join(map(str, documents))]
    about = [BASE_VERSION, checksum(*made_of), asdict(gpt), steps, cfg.tokens, cfg.lr, cfg.seed, tok.name]
    return checksum(json.dumps(about))[:16]


def fit(folder: Path, cfg: Pretrain, gpt: GPTConfig, stream: Iterator, held: Tensor, steps: int,
        device: devices.Device) -> tuple[GPT, dict[str, float]]:
    """-> (the model, {"before": held-out loss, "after": ...}). `stream` gives the (ids, pos) of every step."""
    model, held = GPT(gpt, seed=cfg.seed).to(device.name), held.to(device.name)
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and n.startswith("h.")]
    others = [p for n, p in model.named_parameters() if p.dim() != 2 or not n.startswith("h.")]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}],
                                  lr=cfg.lr, betas=(0.9, 0.98), fused=device.kind != "mps")
    scaler, before = device.scaler(), mean_loss(model, held)
    saved = checkpoints.load_step(folder, model, optimizer) if cfg.resume else {"step": 0}
    start, average = saved["step"], None
    if saved.get("scaler"):
        scaler.load_state_dict(saved["scaler"])
    bar = tqdm(range(start, steps), initial=start, total=steps, desc="pretrain", mininterval=1.0)

    def save(done: int) -> None:
        checkpoints.save_step(folder, done, model, optimizer, {"scaler": scaler.state_dict()})
    for step, (ids, pos) in zip(checkpoints.loop_steps(bar, save), islice(stream, start, None)):
        # ---- data
        ids, pos = ids.to(device.name), pos.to(device.name)
        # ---- forward
        with device.autocast():
            logp = model(ids[:, :-1], want="logp", targets=ids[:, 1:], pos=pos)
        # ---- objective
        loss = -logp.mean()
        # ---- update
        scaler.scale(loss).backward()
        for g in optimizer.param_groups:
            g["lr"] = cfg.lr * warmup(step, 60) * min(1, (steps - step) / (0.6 * steps))
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        # ---- report
        if step % 20 == 0 or step == steps - 1:
            value = loss.item()
            if not math.isfinite(value):
                raise Diverged(f"loss is {value} at step {step}; lower --lr {cfg.lr}")
            average = value if average is None else 0.8 * average + 0.2 * value
            bar.set_postfix(loss=f"{average:.3f}")
    return model, {"before": before, "after": mean_loss(model, held)}


def go_on(model: GPT, tok: Tokenizer, held: Tensor) -> None:
    """Print how the model goes on with the beginnings of two held-out rows: is it English already?"""
    starts = [row[:12].tolist() for row in held[:2]]
    for start, said in zip(starts, generate(model, starts, stop=tok.end, pad=tok.pad, max_new=32)):
        print(f"  {one_line(tok.decode(start))} -> {one_line(tok.decode(said.ids))}")


def pretrain(cfg: Pretrain) -> Path:
    started, device = time.time(), devices.pick(cfg.device, cfg.dtype, cfg.threads)
    steps = cfg.steps if cfg.steps is not None else 3300 if cfg.corpus is None else 1200
    cfg.check()
    if not cfg.resume:
        runs.check_out(cfg.out)                                     # said before anything slow is done
    gpt = replace(SIZES["nano"])
    if cfg.width:
        gpt.n_embd, gpt.init_std = cfg.width, gpt.init_std * (gpt.n_embd / cfg.width) ** 0.5
    if cfg.corpus is None:
        ids, tok, kind = None, Tokenizer.load("nano"), ""
    else:
        ids, tok, kind = read_corpus(cfg)
        gpt.n_ctx = cfg.ctx or (1024 if len(ids) > 40_000 else gpt.n_ctx)
    gpt.vocab_size = tok.n_vocab
    stream, held = batches(cfg, gpt, tok, steps, ids)               # a text that cannot be used leaves no folder
    about = {"command": "pretrain", "config": asdict(cfg), "tokenizer": tok.name, "base_version": BASE_VERSION,
             "key": base_key(cfg, gpt, steps, tok)}
    with runs.open_folder(cfg, about, "base", "the text or the settings", device) as folder:
        print(f"pretraining {gpt.n_layer} layers x {gpt.n_embd} on {', '.join(cfg.corpus or ['NanoWorld'])}, "
              f"{steps:,} steps of {cfg.tokens:,} tokens, {device.name} {device.dtype} -> {folder}")
        model, found = fit(folder, cfg, gpt, stream, held, steps, device)
        save_model(folder, model, tok, half=cfg.half)
        write_json(folder / "run.json", {**about, "held_out_loss": found})
        print("held-out loss {before:.3f} -> {after:.3f} nats per token; ".format(**found)
              + f"{time.time() - started:.0f} s; saved in {folder}")
        flags = runs.chained(folder, "sft")
        if cfg.corpus:
            go_on(model, tok, held)
            flags += ["--data", *(cfg.corpus if kind == "rows" else ["MY.jsonl"])]
            for name in ("prompt_field", "response_field"):
                flags += [flag(name), getattr(cfg, name)] if getattr(cfg, name) else []
        print("Next:\n  python -m nanouft.train --objective sft " + shlex.join(flags))
        return folder


def main(argv=None) -> int:
    cfg, given = config.parse(Pretrain, argv, "python -m nanouft.pretrain", __doc__)
    pretrain(runs.reopen(cfg.resume, "pretrain", Pretrain, given) if cfg.resume else cfg)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
