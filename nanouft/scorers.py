"""The scorer that --reward names: score(rows, answers) -> (n,) numbers.

    score = scorer("exact")                     # NanoWorld's score, 0 to 1
    score = scorer("my.py:right")               # a function of yours (own.py)
    score = scorer("out/reward")                # a reward model (reward.py trains one)
"""
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from safetensors.torch import load_file
from torch import Tensor

from nanouft import world
from nanouft.data.row import Row, Score
from nanouft.gpt import GPT
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Turn
from nanouft.objective import Objective
from nanouft.own import open_reward
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import Reward, is_own_reward, reward_name

HEAD = "score.weight"           # the vector's name in GPT2ForSequenceClassification


def scorer(reward: Reward, device: str = "cpu") -> Score:
    """What --reward names, or a function: score(rows, answers) is an array with a number for each
    answer."""
    if reward == "exact":
        return world.exact_scores
    return open_reward(reward) if is_own_reward(reward) else reward_model(str(reward), device)


def scorer_of_run(reward: Reward, objective: Objective, of_files: bool, device: str) -> Score:
    """The scorer of a run. Distillation needs none: with rows of files it shows 0, unless a reward
    is given."""
    if objective.scorer == "none" and of_files and reward == "exact":
        return lambda rows, answers: np.zeros(len(rows), np.float32)
    score = scorer(reward, device)
    return to_unit_interval(reward, score) if objective.scorer == "grade" else score


def to_unit_interval(reward: Reward, score: Score) -> Score:
    """Scores from 0 to 1: a reward model's through a sigmoid."""
    def grade(rows: list[Row], answers: list[str]) -> np.ndarray:
        x = score(rows, answers)
        if reward != "exact" and not is_own_reward(reward):
            return 1 / (1 + np.exp(-x))
        inside = np.clip(x, 0, 1)
        if (np.abs(x - inside) > 1e-6).any():           # less is rounding
            name = reward_name(reward).strip("<>")
            raise UserError(f"--reward {name}: this method needs rewards from 0 to 1; these are "
                            f"from {x.min():g} to {x.max():g}")
        return inside
    return grade


# ---- a reward model ------------------------------------------------------------------------------
class RewardModel(nn.Module):
    """A GPT and a vector. The vector starts at 0, so all answers have reward 0. There is no bias,
    because a constant cancels."""

    def __init__(self, gpt: GPT):
        super().__init__()
        self.gpt, self.vector = gpt, nn.Linear(gpt.cfg.n_embd, 1, bias=False)
        nn.init.zeros_(self.vector.weight)

    def forward(self, ids: Tensor, last: Tensor) -> Tensor:
        """ids (B,T) padded on the right, last (B,) the position of each row's <|end|> -> (B,)."""
        hidden = self.gpt(ids)
        return self.vector(hidden[torch.arange(len(ids), device=ids.device), last])[:, 0]


def pad_right(seqs: list[list[int]], pad: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    T = max(map(len, seqs))
    ids = torch.tensor([[*s, *[pad] * (T - len(s))] for s in seqs], device=device)
    return ids, torch.tensor([len(s) - 1 for s in seqs], device=device)


@torch.no_grad()
def rewards(model: RewardModel, seqs: list[list[int]], pad: int, chunk: int = 256) -> np.ndarray:
    """(n,) rewards of sequences that end in <|end|>. Those of similar length are read together."""
    out, order = np.zeros(len(seqs)), sorted(range(len(seqs)), key=lambda i: len(seqs[i]))
    for part in (order[i:i + chunk] for i in range(0, len(seqs), chunk)):
        device = str(model.vector.weight.device)
        reward = model(*pad_right([seqs[j] for j in part], pad, device))
        out[part] = reward.cpu().double().numpy()
    return out


def reward_model(folder: str, device: str) -> Score:
    """The reward model in `folder`. It reads prompt, answer and an <|end|>. Each text is read once,
    so equal texts get equal rewards, to the last digit."""
    if not Path(folder).is_dir() and not folder.startswith("hub:"):
        raise UserError(f"--reward {folder}: give exact, FILE.py:FUNCTION or the folder of a "
                        "reward model")
    gpt, tok = start_model(folder)
    model, head = RewardModel(gpt), load_file(f"{folder}/model.safetensors").get(HEAD)
    if head is None or head.shape != model.vector.weight.shape:
        raise UserError(f"{folder}: is not a reward model; train one: python -m nanouft.reward "
                        f"--init {folder}")
    model.vector.weight.data.copy_(head)
    model.to(device).eval()

    def score(rows: list[Row], answers: list[str]) -> np.ndarray:
        texts = [(r.prompt, a) for r, a in zip(rows, answers, strict=True)]
        number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        seqs = [tok.chat(p, (Turn("assistant", a),))[0][-gpt.cfg.n_ctx:] for p, a in number]
        return rewards(model, seqs, tok.pad)[[number[text] for text in texts]]
    return score
