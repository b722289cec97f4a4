"""Listen to models: side by side, or a chat in the terminal.

    python -m nanouft.sample out/ift                          # chat with it, beside it the model that it began with
    python -m nanouft.sample base out/sft out/ift --prompt "Sort pig bee saw from a to z."
    python -m nanouft.sample out/ift --temperature 1 --n 4 --prompt "What food does the rini like?"
    python -m nanouft.sample out/ift --best-of 16 --reward out/reward            # the best of 16 answers, by a reward
    python -m nanouft.sample out/mine --plain --prompt "Once upon"      # a base goes on with a plain text

Every answer says who speaks: folder, objective, step. NanoWorld prompts are scored. With no --prompt and a terminal
it is a chat (/new forgets what was said, /quit ends); otherwise three prompts are answered that the run held out.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft import world
from nanouft.data.rows import Turn
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, flag, in_range, visible
from nanouft.loop import Device
from nanouft.models.load import folder_of, start_model
from nanouft.rewards import best_of
from nanouft.rewards.scorer import Scorer, scorer
from nanouft.run import config, devices, runs
from nanouft.run.runs import model_name, run_settings
from nanouft.sampling import generate, stops


@dataclass
class Sample:
    prompt: list[str] | None = None     # one or several prompts
    plain: bool = False             # go on with the text of the prompt, without a chat template
    best_of: int = 1                # draw this many answers (at temperature 1), show the one that --reward likes best
    reward: str = ""                # of --best-of: exact, FILE.py:FUNCTION or a reward model's folder [exact]
    temperature: float = 0.0        # 0 = greedy
    top_k: int = 0                  # keep the k likeliest tokens; 0 = all
    top_p: float = 1.0              # keep the likeliest tokens up to this mass
    n: int = 1                      # answers a prompt and model
    max_new: int = 96               # longest answer, in tokens
    seed: int = 0                   # of the draws
    device: str = "auto"            # auto | cpu | cuda | mps
    threads: int | None = None      # CPU threads

    def check(self, given: set[str]) -> None:
        best_of.check(self.best_of, self.reward)
        if self.best_of > 1:
            if self.n > 1 or "temperature" in given and self.temperature == 0:
                raise UserError("--best-of shows one answer of several samples: it goes neither with --n nor with "
                                "--temperature 0, where all samples are alike")
            self.temperature = self.temperature if "temperature" in given else 1.0
        in_range(self, "temperature", "top_k", "seed")
        in_range(self, "max_new", low=1)
        in_range(self, "n", low=1, high=best_of.MOST)
        if not self.temperature and (idle := sorted(given & {"top_k", "top_p", "seed"})):
            raise UserError(f"{flag(idle[0])} is about samples, and --temperature 0 takes the likeliest token; "
                            "give --temperature 1")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--top-p {self.top_p}: must be above 0 and at most 1")


# ---- a model that answers ------------------------------------------------------------------------
class Chat:
    """A model that answers, and what it calls itself."""

    def __init__(self, init: str, device: Device):
        self.model, self.tok = start_model(init)
        self.model.to(device.name).eval()
        self.name = model_name(init)

    def say(self, turns: tuple[Turn, ...], judge: Scorer | None = None, n: int = 1, plain: bool = False,
            max_new: int = 96, **draws) -> list[tuple[str, str]]:
        """[(text, remarks)] of n answers; with a judge, of the best of n. `draws`: temperature, top_k, top_p, seed.
        `plain`: the last turn goes on as a text, without a chat template."""
        ids = self.tok.text_ids(turns[-1].text) if plain else self.tok.prompt_ids(turns)
        answers = generate(self.model, [ids] * n, stop=self.tok.stops, pad=self.tok.pad, max_new=max_new, **draws)
        shown = [(self.tok.decode(a.ids).strip(), "" if stops(a, self.tok) else "   (does not stop)") for a in answers]
        if judge is None:
            return shown
        rewards = judge([turns[-1].text] * len(shown), [text for text, _ in shown])
        text, remark = shown[int(best_of.choose(rewards))]
        return [(text, f"   reward {rewards.max():.3g}, mean of {len(shown)}: {rewards.mean():.3g}" + remark)]


def start_of(init: str) -> list[str]:
    """The model that a run began with, if it is still there."""
    first = str(run_settings(init).get("init"))
    return [first] if (folder_of(first) / "config.json").is_file() else []


def prompts_for(init: str, tok: Tokenizer) -> list[str]:
    """Three prompts that a model has not been trained on. UserError if none are known."""
    try:
        if tok.name == "nano" and not run_settings(init).get("data"):
            rows = [world.rows("test", "prompts", 9, 0, skills=(f,))[0] for f in ("list", "sort", "truth")]
            prompts = [row.prompt[-1].text for row in rows]
        else:
            prompts = [str(sample["prompt"]) for sample in runs.read_eval(Path(init))["after"]["samples"]]
    except (KeyError, TypeError):                                   # another folder than a finished run's
        raise UserError(f'{init}: there is no terminal to chat in; say what to ask it with --prompt "..."') from None
    print("no --prompt, and no terminal to chat in: prompts that were held out")
    return prompts


def settings_of(cfg: Sample) -> dict:
    """What Chat.say takes of the flags."""
    names = ("plain", "max_new", "temperature", "top_k", "top_p", "seed")
    return {"n": max(cfg.n, cfg.best_of)} | {name: getattr(cfg, name) for name in names}


def show(models: list[Chat], turns: tuple[Turn, ...], cfg: Sample, judge: Scorer | None = None) -> list[str]:
    """Print every voice's answers; returns the first answer of each."""
    first = []
    for v in models:
        for i, (text, marks) in enumerate(answers := v.say(turns, judge, **settings_of(cfg))):
            try:
                marks = f"   score {world.score(turns[-1].text, text):.2f}" + marks
            except ValueError:
                pass                                            # not a NanoWorld prompt: nothing exact to say
            print(visible(f"{v.name if i == 0 else '':<34} {text}{marks}"))
        first.append(answers[0][0])
    return first


def chat(models: list[Chat], cfg: Sample, judge: Scorer | None = None) -> None:
    print(visible(f"chat; /new forgets, /quit ends; the conversation goes on from the answers of {models[-1].name}"))
    turns: tuple[Turn, ...] = ()
    while (text := input("you> ").strip()) != "/quit":
        if text == "/new":
            turns = ()
        elif text:
            turns += (Turn("user", text),)
            turns += (Turn("assistant", show(models, turns, cfg, judge)[-1]),)


def main(argv=None) -> int:
    cfg, given, names = config.parse_list(Sample, argv, "python -m nanouft.sample", __doc__, "models",
                                          "'base' and run folders; one run alone is shown beside its --init")
    cfg.check(given)
    names = names or ["base"]
    for text in cfg.prompt or []:
        if Path(text, "config.json").is_file():
            raise UserError(f"--prompt {text}: that is a model; put models in front of --prompt")
    device = devices.pick(cfg.device, "fp32", cfg.threads)
    models = [Chat(name, device) for name in (start_of(names[0]) if len(names) == 1 else []) + names]
    judge = scorer(cfg.reward or "exact", device.name) if cfg.best_of > 1 else None
    if cfg.prompt is None and sys.stdin and sys.stdin.isatty():
        try:
            chat(models, cfg, judge)
        except EOFError:
            print()
        return 0
    for text in cfg.prompt or prompts_for(names[-1], models[-1].tok):
        print(visible(f"\nprompt: {text}"))
        show(models, (Turn("user", text),), cfg, judge)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
