"""POVID: DPO for a model that sees; the rejected answers name what is not in the picture.

    python -m lessons.papers.extras.povid       # a table; --seed 1: other weights and pictures
    Zhou et al. 2024, arXiv:2402.11411; code: YiyangZhou/POVID at 92c7c67; the loss: dpo.py

A model that describes pictures may say what usually goes together, and not what it sees. Here each
first object has a companion, which is the second one in 90 % of the pictures. The model is a GPT
with a picture in front of its words: a linear layer makes an embedding of each patch. First SFT
teaches it to describe. Then it learns from pairs. The chosen answer y_w is right, and there are two
rejected ones:
    planted     y_w with a second object that is not there: the companion, or any if that is there
    noised      at each place of y_w the token that the model finds likeliest when the picture is
                nearly all noise
The log-ratios r of all answers are read with the clear picture. The loss is:
    L = -1/2 log sigmoid( beta (r_w - r_planted) ) - 1/2 log sigmoid( beta (r_w - r_noised) )
The table says how often an answer follows the picture when another object takes the companion's
place. "more SFT" imitates y_w of the same kind of pictures for as many steps, to show what the
rejected answers add. Percent of 1,000 answers, seeds 0 to 2:
                        right        follows      invents the companion
    SFT                 98 to 99     28 to 32     7 to 9
    more SFT            92 to 95     56 to 67     3 to 4
    planted             90 to 94     31 to 33     4 to 6
    noised              97           32 to 39     5 to 6
    planted + noised    95 to 97     35 to 39     4 to 6
So noised answers make the model look a little more, at a small price where the companion is there.
Planted ones mostly make it invent less, at a larger price. Imitation makes it look far more than
either. Rates and beta were chosen on seed 0, from a few.

Simplified: only the paper's abstract and its code could be read. There GPT-4V plants, the model is
LLaVA-1.5, a first stage learns from planted answers alone, and at the noised picture the policy and
its reference choose their own tokens (tool/dpo_trainer_inherent.py:524). Here both score the
policy's tokens.
Trap: if the companion is there in 90 % of the pairs, DPO learns to prefer it without looking. So
half of the pairs' pictures lack it.
"""
import argparse
import copy
import sys
from collections.abc import Callable

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

from nanouft.batch import Seqs
from nanouft.gpt import GPT, GPTConfig, log_probs
from nanouft.objectives.dpo import dpo_loss, log_ratio
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import progress, say
from nanouft.run.hyperparameters import make_optimizer

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
SHAPES = {"square": "111 111 111", "ring": "111 101 111", "cross": "010 111 010",
          "corner": "100 100 111"}
OBJECTS = [(colour, shape) for colour in COLOURS for shape in SHAPES]
WORDS = ["<patch>", "<describe>", "<end>", "and", *COLOURS, *SHAPES]
SIDE, PATCH = 8, 2                      # pixels of a picture's side, and of a patch's
N = SIDE // PATCH                       # patches of a side
PROMPT = torch.tensor([[0] * N * N + [1]])          # (1,N*N+1) <patch> ... <describe>
KEPT = 0.1                              # share of the picture in the variance of a noised one
ROWS, BETA = 32, 0.5
CONFIG = GPTConfig(len(WORDS), n_ctx=N * N + 7, n_layer=2, n_embd=64, init_std=0.08)


# ---- pictures and their descriptions -------------------------------------------------------------
def choose_objects(rng: np.random.Generator, rows: int, usual: float) -> np.ndarray:
    """(B,2) objects, left and right. With probability `usual` the right one is the companion."""
    left = rng.integers(len(OBJECTS), size=rows)
    return np.stack([left, companion(left) + (rng.random(rows) >= usual) * other(rng, rows)],
                    1) % len(OBJECTS)


def companion(left: np.ndarray) -> np.ndarray:
    return (left + 5) % len(OBJECTS)                # another colour and another shape


def other(rng: np.random.Generator, rows: int) -> np.ndarray:
    """(B,) to add to the number of an object: the sum is another object."""
    return rng.integers(1, len(OBJECTS), size=rows)


def draw(rng: np.random.Generator, objects: np.ndarray) -> np.ndarray:
    """(B,SIDE,SIDE,3), a little dirty. A shape has 3 x 3 pixels, anywhere in its half."""
    pictures = 0.15 * rng.standard_normal((len(objects), SIDE, SIDE, 3))
    for picture, pair in zip(pictures, objects):
        for half, (colour, shape) in enumerate(OBJECTS[number] for number in pair):
            pixels = np.array([[int(x) for x in row] for row in SHAPES[shape].split()])
            y, x = rng.integers(SIDE - 2), half * SIDE // 2 + rng.integers(SIDE // 2 - 2)
            picture[y:y + 3, x:x + 3] += pixels[:, :, None] * np.array(COLOURS[colour])
    return pictures


def cut(pictures: np.ndarray) -> Tensor:
    """(B,SIDE,SIDE,3) -> (B,N*N,PATCH*PATCH*3)."""
    parts = pictures.reshape(-1, N, PATCH, N, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    return torch.from_numpy(parts.reshape(len(parts), N * N, -1)).float()


def describe(objects: np.ndarray) -> Tensor:
    """(B,6) tokens: "red square and blue ring <end>"."""
    words = [[*OBJECTS[left], "and", *OBJECTS[right], "<end>"] for left, right in objects]
    return torch.tensor([[WORDS.index(word) for word in row] for row in words])


# ---- a GPT that sees -----------------------------------------------------------------------------
class SeeingGPT(GPT):
    def __init__(self, seed: int):
        super().__init__(CONFIG)
        self.look = nn.Linear(PATCH * PATCH * 3, CONFIG.n_embd)
        self.reset(seed)

    def embed(self, patches: Tensor, ids: Tensor) -> Tensor:
        """(B,T,C): the picture in place of the first ids, then the words."""
        return torch.cat([self.look(patches), self.wte(ids[:, N * N:])], 1)

    def logp(self, patches: Tensor, s: Seqs) -> Tensor:
        """(B,T) nats of the targets, with this picture."""
        hidden = self(embeds=self.embed(patches, s.inputs))                     # (B,T,C)
        return log_probs(self, hidden, s.targets, s.positions)

    @torch.no_grad()
    def answer(self, patches: Tensor) -> Tensor:
        """(B,6) tokens: the greedy description."""
        ids = PROMPT.expand(len(patches), -1)
        for _ in range(6):
            hidden = self(embeds=self.embed(patches, ids))
            ids = torch.cat([ids, self.greedy(hidden)[:, -1:]], 1)
        return ids[:, -6:]


def sequences(answers: Tensor) -> Seqs:
    """(B,T) inputs and targets of the prompt and an answer; only the answer is trained on."""
    ids = torch.cat([PROMPT.expand(len(answers), -1), answers], 1)
    mask = (torch.arange(ids.shape[1] - 1) >= N * N).float().expand(len(ids), -1)
    return Seqs(ids[:, :-1], ids[:, 1:], mask, torch.ones_like(mask))


# ---- the rejected answers, and the losses of a step ----------------------------------------------
def planted(rng: np.random.Generator, objects: np.ndarray) -> Seqs:
    left, right = objects.T
    wrong = np.where(right == companion(left), right + other(rng, len(left)), companion(left))
    return sequences(describe(np.stack([left, wrong % len(OBJECTS)], 1)))


@torch.no_grad()
def noised(model: SeeingGPT, patches: Tensor, chosen: Seqs) -> Seqs:
    """Reads the tokens of `chosen`, and says at each place what the noised picture suggests."""
    guess = model.greedy(model(embeds=model.embed(patches, chosen.inputs)))         # (B,T)
    targets = torch.where(chosen.mask == 1, guess, chosen.targets)
    return Seqs(chosen.inputs, targets, chosen.mask, chosen.not_padding)


def sft(model: SeeingGPT, rng: np.random.Generator, usual: float) -> Tensor:
    objects = choose_objects(rng, ROWS, usual)
    s = sequences(describe(objects))
    return -s.sum(model.logp(cut(draw(rng, objects)), s)).sum() / s.mask.sum()


def povid(model: SeeingGPT, start: SeeingGPT, rng: np.random.Generator, sources: str) -> Tensor:
    objects = choose_objects(rng, ROWS, usual=0.5)
    pictures, chosen, rejected = draw(rng, objects), sequences(describe(objects)), []
    if "planted" in sources:
        rejected.append(planted(rng, objects))
    if "noised" in sources:
        noise = rng.standard_normal(pictures.shape)         # a late step of diffusion
        rejected.append(noised(model, cut(KEPT**0.5 * pictures + (1 - KEPT)**0.5 * noise), chosen))
    for s in (chosen, *rejected):
        s.logp = model.logp(cut(pictures), s)
        with torch.no_grad():
            s.ref_logp = start.logp(cut(pictures), s)
    r_w = log_ratio(chosen)                                                 # (B,)
    return torch.cat([dpo_loss(r_w, log_ratio(s), BETA) for s in rejected]).mean()


# ---- training, and the table ---------------------------------------------------------------------
def train(model: SeeingGPT, name: str, steps: int, lr: float, loss: Callable) -> SeeingGPT:
    optimizer = make_optimizer(model, lr)
    for step in progress(steps, name, range(steps), training=True):
        optimizer.param_groups[0]["lr"] = lr * min((step + 1) / 20, 1 - step / steps)
        loss(model).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model


def measure(model: SeeingGPT, seed: int, rows: int = 1000) -> list[float]:
    """Percent of the answers that are right while the companion is there; that follow when another
    object takes its place; that name it all the same."""
    rng = np.random.default_rng([seed, 1])
    before = choose_objects(rng, rows, usual=1.0)
    after = np.stack([before[:, 0], (before[:, 1] + other(rng, rows)) % len(OBJECTS)], 1)
    first, second = (model.answer(cut(draw(rng, objects))) for objects in (before, after))
    tests = (first == describe(before), second == describe(after),
             (second == describe(before))[:, 3:5])
    return [100 * x.all(1).double().mean().item() for x in tests]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.papers.extras.povid",
                                     description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of weights and pictures")
    seed = parser.parse_args(argv).seed
    torch.set_num_threads(1)                        # a second thread would only wait
    rng = np.random.default_rng([seed, 0])
    start = train(SeeingGPT(seed), "SFT", 600, 2e-3, lambda model: sft(model, rng, usual=0.9))
    say(f"{'answers in %':24}   right  follows  invents",
        "{:24}{:8.1f}{:9.1f}{:9.1f}".format("SFT", *measure(start, seed)), sep="\n")
    for name in ("more SFT", "planted", "noised", "planted + noised"):
        rng = np.random.default_rng([seed, 2])
        model = copy.deepcopy(start)
        if name == "more SFT":
            train(model, name, 150, 2e-3, lambda model: sft(model, rng, usual=0.5))
        else:
            train(model, name, 150, 3e-4, lambda model: povid(model, start, rng, name))
        say("{:24}{:8.1f}{:9.1f}{:9.1f}".format(name, *measure(model, seed)))
    say("right: the companion is there; follows: the answer names what took its place;",
        "invents: it names the companion, which is no longer there", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
