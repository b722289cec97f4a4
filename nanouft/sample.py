"""Ask models: answers side by side, or a chat in the terminal.

    python -m nanouft.sample out/ift            # chat with it and with the model that it began with
    python -m nanouft.sample base out/sft out/ift --prompt "Sort pig bee saw from a to z."
    python -m nanouft.sample out/ift --temperature 1 --n 4 --prompt "What food does the rini like?"
    python -m nanouft.sample out/ift --best-of 16 --reward out/reward       # best of 16 samples
    python -m nanouft.sample out/mine --plain --prompt "Once upon"      # a base continues a text

Every answer shows its model: folder, objective, step. NanoWorld prompts are scored. Without
--prompt a terminal becomes a chat (/new forgets, /quit ends); elsewhere the model answers three
held-out prompts.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft import world
from nanouft.data.rows import Turn, Turns
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, flag, in_range, say
from nanouft.loop import Device
from nanouft.models.load import folder_of, start_model
from nanouft.rewards import best_of
from nanouft.rewards.scorer import Scorer, scorer
from nanouft.run import config, devices, runs
from nanouft.run.runs import model_name, run_about
from nanouft.run.storage import HUB
from nanouft.sampling import generate, stops


@dataclass
class Sample:
    prompt: list[str] | None = None     # one or several prompts
    plain: bool = False             # continue the text of the prompt, without a chat template
    best_of: int = 1                # draw this many answers, show the one with the best --reward
    reward: str = ""                # exact, FILE.py:FUNCTION or a reward model's folder [exact]
    temperature: float = 0.0        # 0 = greedy; with --best-of 1.0
    top_k: int = 0                  # keep the k likeliest tokens; 0 = all
    top_p: float = 1.0              # keep the likeliest tokens up to this mass
    n: int = 1                      # answers per prompt and model
    max_new: int = 96               # longest answer, in tokens
    seed: int = 0                   # seed of the samples
    device: str = "auto"            # auto | cpu | cuda | mps
    threads: int | None = None      # CPU threads

    def check(self, given: set[str]) -> None:
        best_of.check(self.best_of, self.reward)
        if self.best_of > 1:
            if "temperature" not in given:
                self.temperature = 1.0
            if self.n > 1 or self.temperature == 0:
                raise UserError("--best-of shows one of several samples: it goes neither with --n "
                                "nor with --temperature 0, where all samples are equal")
        in_range(self, "temperature", "top_k", "seed")
        in_range(self, "max_new", low=1)
        in_range(self, "n", low=1, high=best_of.MOST)
        if not self.temperature and (idle := sorted(given & {"top_k", "top_p", "seed"})):
            raise UserError(f"{flag(idle[0])} is about samples, and --temperature 0 takes the "
                            "likeliest token; give --temperature 1")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top-p {self.top_p}: must be above 0 and at most 1")


class ChatModel:
    """A model that answers, with a name."""

    def __init__(self, init: str, device: Device):
        self.model, self.tok = start_model(init)
        self.model.to(device.name).eval()
        self.name = model_name(init)

    def answers(self, turns: Turns, cfg: Sample,
                judge: Scorer | None = None) -> list[tuple[str, str]]:
        """[(text, remarks)] of cfg.n answers; with a judge, of the best of cfg.best_of."""
        text = turns[-1].text
        ids = self.tok.text_ids(text) if cfg.plain else self.tok.prompt_ids(turns)
        found = generate(self.model, [ids] * max(cfg.n, cfg.best_of), stop=self.tok.stops,
                         pad=self.tok.pad, max_new=cfg.max_new, temperature=cfg.temperature,
                         top_k=cfg.top_k, top_p=cfg.top_p, seed=cfg.seed)
        out = [(self.tok.decode(a.ids).strip(),
                "" if stops(a, self.tok) else "   (does not stop)") for a in found]
        if judge is None:
            return out
        rewards = judge([text] * len(out), [answer for answer, _ in out])
        answer, remark = out[int(best_of.choose(rewards))]
        about = f"   reward {rewards.max():.3g}, mean of {len(out)}: {rewards.mean():.3g}"
        return [(answer, about + remark)]


def start_of(init: str) -> list[str]:
    """The model that a run began with, if it is still there. A name on the hub is not asked for:
    the run folder may be somebody else's, and only the command line reaches the network."""
    first = run_about(init).get("config", {}).get("init", "")
    there = not first.startswith(HUB) and (folder_of(first) / "config.json").is_file()
    return [first] if there else []


def prompts_for(init: str, tok: Tokenizer) -> list[str]:
    """Three prompts that a model was not trained on. UserError if none are known."""
    try:
        if tok.name == "nano" and not run_about(init).get("config", {}).get("data"):
            rows = [world.rows("test", "prompts", 9, 0, skills=(family,))[0]
                    for family in ("list", "sort", "truth")]
            prompts = [row.prompt[-1].text for row in rows]
        else:
            prompts = [x["prompt"] for x in runs.read_eval(Path(init))["after"]["samples"]]
    except KeyError:                                      # not the folder of a finished run
        raise UserError(f"{init}: there is no terminal to chat in; "
                        'give a question: --prompt "..."') from None
    say("no --prompt, and no terminal to chat in: prompts that were held out")
    return prompts


def show(models: list[ChatModel], turns: Turns, cfg: Sample,
         judge: Scorer | None = None) -> list[str]:
    """Print the answers of every model; returns the first answer of each."""
    first = []
    for model in models:
        answers = model.answers(turns, cfg, judge)
        for i, (text, remarks) in enumerate(answers):
            try:
                remarks = f"   score {world.score(turns[-1].text, text):.2f}" + remarks
            except ValueError:
                pass                                        # not a NanoWorld prompt: no exact score
            say(f"{model.name if i == 0 else '':<34} {text}{remarks}")
        first.append(answers[0][0])
    return first


def chat(models: list[ChatModel], cfg: Sample, judge: Scorer | None = None) -> None:
    say("chat; /new forgets, /quit ends; the conversation goes on from the answers of "
        + models[-1].name)
    turns: Turns = ()
    while (text := input("you> ").strip()) != "/quit":
        if text == "/new":
            turns = ()
        elif text:
            turns += (Turn("user", text),)
            turns += world.as_answer(show(models, turns, cfg, judge)[-1])


def main(argv=None) -> int:
    cfg, given, names = config.parse_list(
        Sample, argv, "python -m nanouft.sample", __doc__, "models",
        "'base' and run folders; one run alone is shown beside its --init")
    cfg.check(given)
    names = names or ["base"]
    device = devices.pick(cfg.device, "fp32", cfg.threads)
    start = start_of(names[0]) if len(names) == 1 else []
    models = [ChatModel(name, device) for name in start + names]
    judge = scorer(cfg.reward or "exact", device.name) if cfg.best_of > 1 else None
    if cfg.prompt is None and sys.stdin and sys.stdin.isatty():
        try:
            chat(models, cfg, judge)
        except EOFError:
            say()
        return 0
    for text in cfg.prompt or prompts_for(names[-1], models[-1].tok):
        say(f"\nprompt: {text}")
        show(models, (Turn("user", text),), cfg, judge)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
