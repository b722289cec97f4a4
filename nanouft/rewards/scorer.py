"""What scores an answer: NanoWorld's exact score, a reward model, or a function of the user's.

    score = scorer("exact")         # or the folder of a reward model, or my.py:right
    score(prompts, answers, gold=[...])     # -> (n,) rewards; other fields of the rows by name

A reward model is a GPT and one vector: the reward is the product of the vector with the last hidden
state at the answer's <|end|> (Stiennon et al. 2020, arXiv:2009.01325). reward.py trains it. Its
folder opens in transformers as GPT2ForSequenceClassification.
"""
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanouft import world
from nanouft.data.rows import Row, Turn, Turns
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError
from nanouft.eval.stats import bootstrap
from nanouft.gpt import GPT
from nanouft.models.load import read_model
from nanouft.models.save import save_model
from nanouft.rewards import own_reward, several
from nanouft.run.storage import checksum, read_json, write_json

Scorer = Callable[..., np.ndarray]      # (n prompts, n answers, **n values of other fields) -> (n,)
NO_EXACT = ("the exact score exists for NanoWorld's prompts alone; for others give --reward "
            "FILE.py:FUNCTION, or --reward DIR, a reward model (python -m nanouft.reward makes "
            "one)")
HEAD = "score.weight"                   # the name that GPT2ForSequenceClassification gives it


def scorer(name: str, device: str = "cpu") -> Scorer:
    """What `--reward NAME` means: "exact", FILE.py:FUNCTION, the folder of a reward model, or
    several of them (several.py)."""
    if not several.is_plain(name):
        return several.Several(name, lambda part: scorer(part, device))
    if own_reward.split(name):
        return own_reward.load(name)
    return exact if name == "exact" else load(name, device)


def is_reward_model(name: str) -> bool:
    """Is it a reward model? Its rewards are logits: a sigmoid makes scores of them. (A sum of
    several is not.)"""
    return several.is_plain(name) and name != "exact" and not own_reward.split(name)


def reward_hash(name: str, rows: list[Row]) -> str:
    """A run goes on only with the reward that it began with, and with the same fields of the rows
    where a function may read them: a hash of these, "" for the exact score."""
    if not several.is_plain(name):
        return "".join(reward_hash(part, rows) for part, _ in several.parts(name))
    if own := own_reward.split(name):
        return "-" + checksum(Path(own[0]), own[1], repr([r.extra for r in rows]))[:8]
    return "" if name == "exact" else "-" + checksum(Path(name) / "model.safetensors")[:8]


def score_answers(score: Scorer, prompts: list[Turns], answers: list[str],
                  extra: list[dict]) -> np.ndarray:
    """(n,) rewards of answers to the last turns of these prompts. extra: the other fields of each
    row, by name."""
    names = dict.fromkeys(key for fields in extra for key in fields)
    return score([p[-1].text for p in prompts], answers,
                 **{key: [fields.get(key) for fields in extra] for key in names})


def score_rows(score: Scorer, rows: list[Row], answers: list[str]) -> np.ndarray:
    """(n,) rewards of answers to the prompts of these rows."""
    return score_answers(score, [r.prompt for r in rows], answers, [r.extra for r in rows])


def try_out(name: str, rows: list[Row], graded: bool = False) -> None:
    """Call the user's function with an empty answer and a few answers of the file, so that a
    mistake in it is found before a run folder is made. `graded`: rewards must lie from 0 to 1."""
    if any(own_reward.split(part) for part, _ in several.parts(name)):
        tried = [(rows[0], "")]
        tried += [(r, talk[-1].text) for r in rows[:8] if (talk := r.answer or r.chosen)]
        rewards = score_rows(scorer(name), *map(list, zip(*tried)))
        if graded:
            to_unit_interval(name, rewards)


def constant_reward_note(rewards: np.ndarray) -> str:
    """A remark on rewards that are all equal; "" if they differ."""
    if len(rewards) < 2 or rewards.min() < rewards.max():
        return ""
    return (f"note: all of the first {len(rewards):,} answers earned {rewards[0]:g}. A reward that "
            "is always the same teaches nothing: check it on a few answers, or begin with a model "
            "that is sometimes right")


def to_unit_interval(name: str, rewards: np.ndarray) -> np.ndarray:
    """(n,) scores from 0 to 1: a reward model's rewards through a sigmoid, others as they are.
    UserError if those lie elsewhere."""
    if is_reward_model(name):
        return sigmoid(rewards)
    if len(rewards) and (rewards.min() < 0 or rewards.max() > 1):
        raise UserError(f"--reward {name}: grades go from 0 to 1, and these from "
                        f"{rewards.min():g} to {rewards.max():g}; rescale them in your function")
    return rewards


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def figures(rewards: np.ndarray, ends: list[bool]) -> dict[str, float]:
    """Of rewarded answers: the mean, its 95 % bootstrap interval, the share that ends."""
    low, high = bootstrap(rewards)
    return {"reward": float(np.mean(rewards)), "ends": float(np.mean(ends)), "low": low,
            "high": high, "rows": len(rewards)}


def exact(prompts: list[str], answers: list[str], /, **fields: list) -> np.ndarray:
    """NanoWorld's exact score as a Scorer: (n,) in [0,1]. UserError for other prompts."""
    try:
        return np.array([world.score(p, a) for p, a in zip(prompts, answers, strict=True)])
    except ValueError:
        raise UserError(NO_EXACT) from None


def unscored(prompts: list[str], answers: list[str], /, **fields: list) -> np.ndarray:
    """(n,) zeros, for a method that needs no reward."""
    return np.zeros(len(answers))


def load(folder: str | Path, device: str = "cpu") -> Scorer:
    """The reward model in `folder` as a Scorer. It reads prompt, answer and an <|end|>, whether or
    not the answer ended by itself; a prompt that does not fit loses its beginning. Each text is
    read once, so equal texts get equal rewards, to the last digit."""
    model, tok = load_model(folder)
    model.to(device).eval()

    def scorer(prompts: list[str], answers: list[str], /, **fields: list) -> np.ndarray:
        asked = list(zip(prompts, answers, strict=True))
        place = {text: i for i, text in enumerate(dict.fromkeys(asked))}
        seqs = [tok.chat((Turn("user", p),), (Turn("assistant", a),))[0][-model.gpt.cfg.n_ctx:]
                for p, a in place]
        out = rewards(model, seqs, tok.pad)
        if not np.isfinite(out).all():
            raise UserError(f"--reward {folder}: gave a reward that is not finite; train it again")
        return out[[place[text] for text in asked]]
    return scorer


# ---- reward models -------------------------------------------------------------------------------
class RewardModel(nn.Module):
    """Its vector starts at 0: all answers are worth the same, and the loss is log 2. No bias: a
    constant cancels."""

    def __init__(self, gpt: GPT):
        super().__init__()
        self.gpt = gpt
        self.score = nn.Linear(gpt.cfg.n_embd, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, ids: Tensor, last: Tensor) -> Tensor:
        """ids (B,T) padded on the right, last (B,) the place of each row's <|end|> -> (B,) rewards.
        Attention is causal, so what comes after `last` does not matter."""
        hidden = self.gpt(ids, want="hidden")
        return self.score(hidden[torch.arange(len(ids), device=ids.device), last])[:, 0]


def padded(seqs: list[list[int]], pad: int, device: str) -> tuple[Tensor, Tensor]:
    """((B,T) ids padded on the right, (B,) place of the last token)."""
    ids = torch.full((len(seqs), max(map(len, seqs))), pad)
    for row, s in zip(ids, seqs):
        row[:len(s)] = torch.as_tensor(s)
    return ids.to(device), torch.tensor([len(s) - 1 for s in seqs], device=device)


@torch.no_grad()
def rewards(model: RewardModel, seqs: list[list[int]], pad: int, chunk: int = 256) -> np.ndarray:
    """(n,) rewards of sequences that end in <|end|>; those of similar length are read together."""
    device, out = str(model.score.weight.device), np.zeros(len(seqs))
    by_length = sorted(range(len(seqs)), key=lambda i: len(seqs[i]))
    for i in range(0, len(seqs), chunk):
        part = by_length[i:i + chunk]
        found = model(*padded([seqs[j] for j in part], pad, device))
        out[part] = found.cpu().double().numpy()
    return out


def save(folder: Path, model: RewardModel, tok: Tokenizer) -> None:
    """A model folder with one weight more."""
    save_model(folder, model.gpt, tok)
    file, partial = folder / "model.safetensors", folder / "model.partial"
    head = {HEAD: model.score.weight.float().cpu().contiguous()}
    save_file(load_file(file) | head, partial, metadata={"format": "pt"})
    os.replace(partial, file)
    config = read_json(folder / "config.json")
    family = config["architectures"][0].removesuffix("LMHeadModel").removesuffix("ForCausalLM")
    write_json(folder / "config.json", config | {
        "architectures": [f"{family}ForSequenceClassification"], "id2label": {"0": "reward"},
        "label2id": {"reward": 0}, "problem_type": "regression", "pad_token_id": tok.pad})


def load_model(folder: str | Path) -> tuple[RewardModel, Tokenizer]:
    """The model and its tokenizer; UserError for a folder that holds none, or half of one."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file, not the folder of a reward model")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; a reward model is made by python -m "
                        f"nanouft.reward --out {folder}")
    file = folder / "model.safetensors"
    if (folder / "run.json").exists() and not file.exists():
        raise UserError(f"{folder}: that run has not finished; make the reward model again")
    gpt, tok = read_model(folder)                       # names what is missing or damaged
    head = read_head(file)
    if head is None:
        raise UserError(f"{folder}: is a language model, no reward model; make one from it: "
                        f"python -m nanouft.reward --init {folder}")
    model, shape = RewardModel(gpt), tuple(head.shape)
    if (shape != (1, gpt.cfg.n_embd) or not head.is_floating_point()
            or not torch.isfinite(head).all()):
        raise UserError(f"{file}: {HEAD} has shape {shape} and holds {head.dtype}; it must be one "
                        f"row of {gpt.cfg.n_embd} finite numbers")
    model.score.weight.data.copy_(head)
    return model, tok


def read_head(file: Path) -> Tensor | None:
    """The vector of a reward model; None if there is none, as where weights are in several files.
    """
    try:
        with safe_open(file, framework="pt") as weights:
            return weights.get_tensor(HEAD) if HEAD in weights.keys() else None
    except (OSError, SafetensorError):
        return None
