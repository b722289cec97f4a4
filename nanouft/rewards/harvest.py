"""Harvest: prompts -> samples of a model -> rewards -> files that `train --data` reads.

    python -m nanouft.rewards.harvest --init out/sft --samples 8 --out out/own  # NanoWorld, exact
    python -m nanouft.rewards.harvest --init out/mine --data my.jsonl --reward my.py:right
    python -m nanouft.train --objective dpo --init out/sft --data out/own/pairs.jsonl --lr 1e-5

pairs.jsonl    best against worst of each prompt's samples, if rewards differ   dpo, orpo, simpo ...
labels.jsonl   every answer, good or bad                                kto, una --feedback binary
scores.jsonl   every answer with its reward                             una, uft (with demos)
demos.jsonl    the right answers, each once a prompt                    sft (RFT, arXiv:2308.01825)
answers.jsonl  all of it as it was sampled; the same command goes on from there

Right is what earns --good (the exact score: 1), without it the best sample of its prompt. Good is
what is right; without --good what earns at least the mean of its prompt's answers in the files.
An answer that begins another question is used nowhere; one that does not end may be a bad answer,
never a good one. NanoWorld's prompts are not those that train draws with that seed.
"""
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nanouft import world
from nanouft.data.rows import Row, Turns, each_prompt
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, in_range, say
from nanouft.gpt import GPT
from nanouft.models.load import start_model
from nanouft.rewards.scorer import (
    NO_EXACT,
    Scorer,
    is_reward_model,
    reward_hash,
    score_answers,
    scorer,
    sigmoid,
    try_out,
)
from nanouft.run import config, devices, provenance, runs
from nanouft.run.storage import Lines, checksum
from nanouft.sampling import MAX_NEW, answer_rows
from nanouft.seeds import harvest_prompt_seed, harvest_seed

HARVEST = "harvest.json"
CHUNK = 256             # answers that are decoded together


@dataclass
class Harvest:
    init: str = "base"              # the model that answers: 'base' or a model folder
    data: list[str] | None = None   # your files with prompts (docs/data.md) [NanoWorld's prompts]
    prompt_field: str | None = None     # field with the prompt, if it is not detected
    strict: bool = False            # stop at the first row of your data that is not understood
    reward: str = "exact"           # exact (NanoWorld), FILE.py:FUNCTION, or a reward's folder
    good: float | None = None       # reward of a right answer [exact: 1, else the best of a prompt]
    prompts: int = 1020             # NanoWorld prompts
    skills: str = "all"             # their families: A, B, all or names with commas
    samples: int = 8                # answers to a prompt
    temperature: float = 1.0        # of the samples
    max_new: int = MAX_NEW          # longest answer, in tokens
    seed: int = 0                   # draws prompts and answers
    device: str = "auto"            # auto | cpu | cuda | mps
    threads: int | None = None      # CPU threads
    out: str = "out/harvest"        # folder of the files

    @property
    def resume(self) -> str | None:
        """The folder, if an interrupted harvest is there: this one goes on with it."""
        return self.out if (Path(self.out) / HARVEST).exists() else None

    def check(self, given: set[str]) -> None:
        in_range(self, "prompts", low=1, high=100_000)
        in_range(self, "samples", low=1, high=CHUNK)
        in_range(self, "max_new", low=1)
        in_range(self, "temperature", above=True, high=100)
        in_range(self, "seed")
        config.refuse_idle(self.data, given, {"prompts", "skills"})


@dataclass
class Sampled:
    """One prompt and the answers of the model."""
    prompt: Turns
    answers: list[str]
    rewards: list[float]
    ended: list[bool]                   # with <|end|>
    clean: list[bool]                   # no other control token in it

    def usable(self) -> list[int]:
        """Places of the answers that a file can hold: neither empty nor with control tokens."""
        return [i for i, text in enumerate(self.answers) if text and self.clean[i]]


# ---- prompts -> answers with rewards -------------------------------------------------------------
def find_prompts(cfg: Harvest) -> list[Row]:
    """Each different prompt once."""
    if cfg.data:
        from nanouft.files.read import read  # only where there are files to read
        rows, found = read(cfg.data, cfg.prompt_field, prompts=True, strict=cfg.strict,
                           reward=cfg.reward)
        say(*found, sep="\n")
        if cfg.reward == "exact" and not world.named(rows):
            raise UserError(NO_EXACT)
        prompts = each_prompt(rows)
        new = provenance.unseen(prompts, provenance.trained_on(cfg.init))
        if seen := len(prompts) - len(new):
            say(f"note: {cfg.init} was trained on {seen:,} of these {len(prompts):,} prompts: "
                "rewards there say little about new ones")
        return prompts
    try:
        families, = world.skills_named(cfg.skills)
        return each_prompt(world.rows("train", "demos", cfg.prompts, harvest_prompt_seed(cfg.seed),
                                      skills=families))
    except ValueError as e:
        raise UserError(f"--skills {cfg.skills}: {e}") from None


def sample(model: GPT, tok: Tokenizer, rows: list[Row], cfg: Harvest, score: Scorer,
           file: Lines) -> list[dict]:
    """Answer the prompts that `file` lacks, `CHUNK` answers at a time, prompts of similar length
    together; returns all its lines."""
    done = {line["row"] for line in file.read()}
    order = sorted(range(len(rows)), key=lambda i: len(tok.prompt_ids(rows[i].prompt)))
    per = CHUNK // cfg.samples
    bar = tqdm(total=len(rows) * cfg.samples, initial=len(done) * cfg.samples, desc="answers",
               mininterval=2)
    for number, start in enumerate(range(0, len(rows), per)):
        part = order[start:start + per]
        if not done.issuperset(part):
            lines = one_chunk(model, tok, [rows[i] for i in part], cfg, score, number)
            file.add(*({"row": i, **line} for i, line in zip(part, lines) if i not in done))
            bar.update(len(part) * cfg.samples)
    bar.close()
    return sorted(file.read(), key=lambda line: line["row"])


def one_chunk(model: GPT, tok: Tokenizer, rows: list[Row], cfg: Harvest, score: Scorer,
              number: int) -> list[dict]:
    """{answers, rewards, ended, clean} of each row: `samples` answers."""
    asked = [r for r in rows for _ in range(cfg.samples)]
    found = answer_rows(model, tok, asked, cfg.max_new, chunk=CHUNK,
                        seed=harvest_seed(cfg.seed, number), temperature=cfg.temperature)
    texts = [tok.decode(a.ids).strip() for a in found]
    rewards = score_answers(score, [r.prompt for r in asked], texts, [r.extra for r in asked])
    if not np.isfinite(rewards).all():
        raise UserError(f"--reward {cfg.reward}: gave a reward that is not finite; train it again")
    columns: dict[str, list] = {
        "answers": texts, "rewards": rewards.tolist(), "ended": [a.ended for a in found],
        "clean": [not {tok.user, tok.assistant} & set(a.ids) for a in found]}
    return [{name: column[i:i + cfg.samples] for name, column in columns.items()}
            for i in range(0, len(asked), cfg.samples)]


# ---- answers -> rows -----------------------------------------------------------------------------
Chance = Callable[[float], float]


def chance_of(sampled: list[Sampled], is_learnt: bool) -> Chance | None:
    """chance(gap): how likely is an answer the better one whose reward is larger by `gap`? With a
    reward model by Bradley-Terry, with grades from 0 to 1 (1 + gap) / 2. None with other rewards:
    nobody knows it."""
    if is_learnt:
        return sigmoid
    grades = all(0 <= reward <= 1 for s in sampled for reward in s.rewards)
    return (lambda gap: (1 + gap) / 2) if grades else None


def pair(s: Sampled, chance: Chance | None) -> list[dict]:
    """[best against worst], or nothing: the best has ended, and the rewards differ."""
    places = s.usable()
    ended = [i for i in places if s.ended[i]]
    if not ended:
        return []
    best, worst = max(ended, key=s.rewards.__getitem__), min(places, key=s.rewards.__getitem__)
    gap = s.rewards[best] - s.rewards[worst]
    if gap <= 0:
        return []
    out: dict[str, Any] = {"chosen": s.answers[best], "rejected": s.answers[worst]}
    if chance:
        out["p"] = float(chance(gap))
    return [out]


def labels(s: Sampled, good: float | None) -> list[dict]:
    """Every answer, good or bad: by the threshold, or by the mean reward of its prompt, if these
    differ."""
    places = s.usable()
    rewards = [s.rewards[i] for i in places]
    if not places or good is None and min(rewards) == max(rewards):
        return []
    bound = np.mean(rewards) if good is None else good
    return [{"response": s.answers[i], "label": bool(s.ended[i] and s.rewards[i] >= bound)}
            for i in places]


def scores(s: Sampled, is_learnt: bool) -> list[dict]:
    """Every answer with its reward; a reward model's goes through a sigmoid, to 0..1."""
    return [{"response": s.answers[i],
             "score": float(sigmoid(s.rewards[i])) if is_learnt else s.rewards[i]}
            for i in s.usable()]


def demos(s: Sampled, good: float | None) -> list[dict]:
    """The right answers, equal ones once: those that reach the threshold, or the best one."""
    ended = [i for i in s.usable() if s.ended[i]]
    if good is None:
        right = sorted(ended, key=lambda i: -s.rewards[i])[:1]
    else:
        right = [i for i in ended if s.rewards[i] >= good]
    return [{"response": text} for text in dict.fromkeys(s.answers[i] for i in right)]


def prompt_field(prompt: Turns) -> str | list[dict]:
    """A prompt as a field of a file: one question as a string, a dialogue as messages."""
    if len(prompt) == 1 and prompt[0].role == "user":
        return prompt[0].text
    return [{"role": "assistant", "content": turn.text, "weight": 0} if turn.role == "shown" else
            {"role": turn.role, "content": turn.text} for turn in prompt]


def write(folder: Path, sampled: list[Sampled], good: float | None,
          is_learnt: bool) -> dict[str, int]:
    """The four files; {name: rows}. A file without rows is not left."""
    chance = chance_of(sampled, is_learnt)
    made = {"pairs": lambda s: pair(s, chance), "labels": lambda s: labels(s, good),
            "scores": lambda s: scores(s, is_learnt), "demos": lambda s: demos(s, good)}
    counts = {}
    for name, rows_of in made.items():
        rows = [{"prompt": prompt_field(s.prompt), **row} for s in sampled for row in rows_of(s)]
        counts[name] = len(rows)
        file = folder / f"{name}.jsonl"
        if rows:
            Lines(file).rewrite(rows)
        else:
            file.unlink(missing_ok=True)
    return counts


# ---- the command ---------------------------------------------------------------------------------
def main(argv: list[str] | None = None) -> int:
    cfg, given = config.parse(Harvest, argv, "python -m nanouft.rewards.harvest", __doc__)
    cfg.check(given)
    began, device = time.time(), devices.pick(cfg.device, "fp32", cfg.threads)
    score, rows = scorer(cfg.reward, device.name), find_prompts(cfg)
    try_out(cfg.reward, rows)
    model, tok = start_model(cfg.init)
    model.to(device.name).eval()
    settings = [cfg.samples, cfg.temperature, cfg.max_new, cfg.seed, cfg.reward,
                reward_hash(cfg.reward, rows)]
    key = checksum(runs.fingerprint(model, []), repr([r.prompt for r in rows]), repr(settings))
    about = {"command": "rewards.harvest", "key": key[:24], "config": asdict(cfg)}
    opened = runs.open_folder(cfg, about, "harvest", "the model, the prompts or a setting", device,
                              file=HARVEST)
    with opened as folder, runs.kept_lines(folder / "answers.jsonl"):
        lines = sample(model, tok, rows, cfg, score, Lines(folder / "answers.jsonl"))
        sampled = [Sampled(rows[x["row"]].prompt, x["answers"], x["rewards"], x["ended"],
                           x["clean"]) for x in lines]
        good = 1.0 if cfg.good is None and cfg.reward == "exact" else cfg.good
        counts = write(folder, sampled, good, is_reward_model(cfg.reward))
    report(cfg, folder, sampled, counts, time.time() - began)
    return 0


def report(cfg: Harvest, folder: Path, sampled: list[Sampled], counts: dict[str, int],
           seconds: float) -> None:
    rewards = np.array([s.rewards for s in sampled])                        # (prompts, samples)
    ended = np.mean([s.ended for s in sampled])
    left = rewards.size - sum(len(s.usable()) for s in sampled)
    out = (f"; {left:,} that are empty or begin another question are left out" if left else "")
    say(f"{len(sampled):,} prompts x {cfg.samples} answers: reward {rewards.mean():.3f} on "
        f"average, the best of each prompt {rewards.max(1).mean():.3f}; {100 * ended:.0f} % end"
        + out)
    files = [f"{folder / name}.jsonl: {n:,}" for name, n in counts.items() if n]
    say(f"{', '.join(files)} rows. {seconds:.0f} s.")
    start = [] if cfg.init == "base" else ["--init", cfg.init]
    for name, objective, gently, empty in (
            ("demos", "sft", "--batch-size 16 --lr 3e-5 --epochs 4", "No answer is right"),
            ("pairs", "dpo", "--lr 1e-5", "No prompt has answers of different rewards")):
        flags = shlex.join([*start, "--data", str(folder / f"{name}.jsonl"), *gently.split()])
        if counts[name]:
            say(f"Next: python -m nanouft.train --objective {objective} {flags}")
        else:
            if not ended:
                empty = f"No answer ends within --max-new {cfg.max_new} tokens"
            say(f"{empty}, so there is no {name}.jsonl.")


if __name__ == "__main__":
    sys.exit(config.run(main))
