"""Judge a model's answers yourself: yes or no, and files that `train --data` reads.

    python -m nanouft.rewards.judge out/sft --data prompts.jsonl     # y good, n bad, s skip, q stop
    python -m nanouft.rewards.judge out/sft --data prompts.jsonl --page     # ... in a browser
    python -m nanouft.rewards.judge out/sft --verdicts verdicts.jsonl       # what the page saved

judged.jsonl   every answer that was shown, with your verdict; the same command goes on from there
labels.jsonl   the good and the bad ones; what you skipped is not in it     kto, una, sft
pairs.jsonl    each good answer with each bad one to the same prompt        dpo, orpo, simpo ...

In the terminal all three are written after each key. Equal answers to a prompt are shown once. An
answer that does not stop can only be a bad one: as a good one it would be trained with an end that
it has not.
"""
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from nanouft.data.rows import Row, each_prompt
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, in_range, say
from nanouft.gpt import GPT
from nanouft.models.load import start_model
from nanouft.rewards.harvest import prompt_field
from nanouft.run import config, devices, pages, runs
from nanouft.run.storage import LOCK, Lines, checksum, locked, write_text
from nanouft.run.words import one_line
from nanouft.sampling import answer_rows, stops
from nanouft.seeds import harvest_seed

KEYS = {"y": True, "n": False, "s": None}
FEW = 10                # good answers, or pairs: fewer teach little


@dataclass
class Judge:
    data: list[str] | None = None   # your files with prompts (docs/data.md); needed
    prompt_field: str | None = None     # field with the prompt, if it is not detected
    samples: int = 2                # answers to a prompt
    temperature: float = 1.0        # of the samples
    max_new: int = 96               # longest answer, in tokens
    seed: int = 0                   # draws the answers
    device: str = "auto"            # auto | cpu | cuda | mps
    threads: int | None = None      # CPU threads
    out: str = "out/judged"         # folder of the files; if they are there, it goes on
    page: bool = False              # write judge.html, a page for a browser, and ask nothing
    verdicts: str = ""              # take the verdicts from this file, which the page has saved

    def check(self) -> None:
        in_range(self, "samples", low=1, high=16)
        in_range(self, "max_new", low=1)
        in_range(self, "temperature", above=True, high=100)
        in_range(self, "seed")


@dataclass
class Shown:
    """An answer in front of the judge."""
    prompt: str | list[dict]            # as a field of a file
    response: str
    ended: bool                         # with <|end|>


# ---- answers -------------------------------------------------------------------------------------
def shown(model: GPT, tok: Tokenizer, row: Row, number: int, cfg: Judge) -> Iterator[Shown]:
    """The different answers to prompt `number`: neither empty nor with control tokens."""
    found = answer_rows(model, tok, [row] * cfg.samples, cfg.max_new, temperature=cfg.temperature,
                        seed=harvest_seed(cfg.seed, number))
    texts: dict[str, bool] = {}                 # text -> does it stop?
    for answer in found:
        text = tok.decode(answer.ids).strip()
        if text and not {tok.user, tok.assistant} & set(answer.ids):
            texts.setdefault(text, stops(answer, tok))
    for text, ended in texts.items():
        yield Shown(prompt_field(row.prompt), text, ended)


def ask(answer: Shown) -> str:
    """A key of KEYS, or q. The end of the input is q, too."""
    end = "" if answer.ended else "   (does not stop)"
    say(f"  answer  {answer.response}{end}", flush=True)
    while True:
        try:
            key = input("  good? [y, n, s = skip, q = stop] ").strip().lower()[:1]
        except EOFError:
            return "q"
        if key == "y" and not answer.ended:
            say("  it does not stop, so it cannot be a good answer: n or s")
        elif key in KEYS or key == "q":
            return key


# ---- files ---------------------------------------------------------------------------------------
def write(folder: Path, judged: list[dict]) -> tuple[list[dict], list[dict]]:
    """labels.jsonl and pairs.jsonl of all verdicts, and their rows. A file without rows is not
    left."""
    labels = [line for line in judged if line["label"] is not None]
    sides: dict[str, tuple[list[dict], list[dict]]] = {}
    for line in labels:
        sides.setdefault(repr(line["prompt"]), ([], []))[not line["label"]].append(line)
    pairs = [{"prompt": one["prompt"], "chosen": one["response"], "rejected": other["response"]}
             for good, bad in sides.values() for one in good for other in bad]
    for name, rows in (("labels", labels), ("pairs", pairs)):
        if rows:
            Lines(folder / f"{name}.jsonl").rewrite(rows)
        else:
            (folder / f"{name}.jsonl").unlink(missing_ok=True)
    return labels, pairs


def odd(line: dict) -> str:
    """What is wrong with a line of judged.jsonl."""
    fits = (isinstance(line.get("prompt"), (str, list)) and isinstance(line.get("response"), str)
            and line.get("label", 0) in (True, False, None) and "label" in line)
    return "" if fits else "is no verdict of this command"


def which(prompt: str | list[dict], response: str) -> tuple[str, str]:
    """What tells one judged answer from another."""
    return repr(prompt), response


def next_commands(init: str, folder: Path, labels: list[dict], pairs: list[dict]) -> list[str]:
    """What these files can train, as commands. KTO needs several prompts."""
    kinds, prompts = {line["label"] for line in labels}, {repr(line["prompt"]) for line in labels}
    fits = {"dpo": bool(pairs), "kto": len(kinds) == 2 < len(prompts), "sft": True in kinds}
    out = []
    for objective in (name for name, ready in fits.items() if ready):
        file = folder / ("pairs.jsonl" if objective == "dpo" else "labels.jsonl")
        start = [] if init == "base" else runs.chained(Path(init), objective)
        words = shlex.join([*start, "--data", str(file)])
        out.append(f"  python -m nanouft.train --objective {objective} {words}")
    return out


def enough(good: int, pairs: int) -> str:
    """A line, if there is too little to train on."""
    if good >= FEW and pairs >= FEW:
        return ""
    return (f"note: good answers: {good:,}, pairs: {pairs:,}. That is little: judge more prompts "
            "before you train on them, or more answers to each with --samples 4\n")


# ---- a page for a browser ------------------------------------------------------------------------
def write_page(model: GPT, tok: Tokenizer, prompts: list[Row], init: str, cfg: Judge,
               file: Lines) -> Path:
    """OUT/judge.html: one file with all answers that nobody has judged yet. It needs no network."""
    answers = []
    found = unjudged(model, tok, prompts, cfg, file)
    for number, new in tqdm(found, total=len(prompts), desc="answers", leave=False):
        question = prompts[number].prompt[-1].text
        answers += [asdict(answer) | {"question": question} for answer in new]
    if not answers:
        raise UserError(f"{cfg.out}: every answer is judged; give other prompts or another --seed")
    command = ["python", "-m", "nanouft.rewards.judge", init, "--out", cfg.out]
    data = {"key": "judge " + checksum(repr(answers)), "answers": answers,
            "command": shlex.join([*command, "--verdicts", "verdicts.jsonl"])}
    page = Path(cfg.out) / "judge.html"
    source = Path(__file__).with_suffix(".html").read_text(encoding="utf-8")
    parts = {"/*DATA*/": pages.script_json(data), **pages.shared(page.parent, "judge")}
    write_text(page, pages.fill(source, parts))
    return page


def take(verdicts: str, file: Lines) -> None:
    """Add the verdicts of a saved file. Where an answer was judged before, the new one counts."""
    if not Path(verdicts).is_file():
        raise UserError(f"--verdicts {verdicts}: no such file; the page saves verdicts.jsonl where "
                        "your browser keeps downloads")
    lines = {which(line["prompt"], line["response"]): line
             for line in (*file.read(odd), *Lines(Path(verdicts)).read(odd))}
    file.rewrite(list(lines.values()))


# ---- the command ---------------------------------------------------------------------------------
def main(argv: list[str] | None = None) -> int:
    cfg, _, inits = config.parse_list(Judge, argv, "python -m nanouft.rewards.judge", __doc__,
                                      "model", "the model that answers: 'base' or a folder")
    cfg.check()
    device = devices.pick(cfg.device, "fp32", cfg.threads)
    if len(inits) != 1:
        raise UserError("give one model, such as out/sft: python -m nanouft.rewards.judge out/sft "
                        "--data prompts.jsonl")
    folder = Path(cfg.out)
    prompts = [] if cfg.verdicts else read_prompts(cfg)
    if not any((folder / name).exists() for name in ("judged.jsonl", "judge.html")):
        runs.check_out(cfg.out)
    if not cfg.verdicts:
        model, tok = start_model(inits[0])
        model.to(device.name).eval()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK):
        file = Lines(folder / "judged.jsonl")
        if cfg.verdicts:
            take(cfg.verdicts, file)
        elif cfg.page:
            say(f"open {write_page(model, tok, prompts, inits[0], cfg, file)} in a browser")
            return 0
        else:
            judge(model, tok, prompts, cfg, file)
        labels, pairs = write(folder, file.read(odd))
    good = sum(line["label"] for line in labels)
    say(f"\n{folder}: {good:,} good, {len(labels) - good:,} bad, {len(pairs):,} pairs. The same "
        "command goes on.")
    if cfg.samples == 1:        # a test: these prompts are to stay out of training
        return 0
    say(enough(good, len(pairs)), end="")
    commands = next_commands(inits[0], folder, labels, pairs)
    say(*(["Next, one of:", *commands] if commands else ["So far no answer is good."]), sep="\n")
    return 0


def read_prompts(cfg: Judge) -> list[Row]:
    if not cfg.data:
        raise UserError("--data FILE is needed: the prompts whose answers you judge")
    from nanouft.files.read import read  # after --help
    rows, found = read(cfg.data, cfg.prompt_field, prompts=True)
    say(*found, sep="\n")
    return each_prompt(rows)


def unjudged(model: GPT, tok: Tokenizer, prompts: list[Row], cfg: Judge,
             file: Lines) -> Iterator[tuple[int, list[Shown]]]:
    """(prompt's place, its answers that nobody has judged yet)."""
    known = {which(line["prompt"], line["response"]) for line in file.read(odd)}
    for number, row in enumerate(prompts):
        yield number, [answer for answer in shown(model, tok, row, number, cfg)
                       if which(answer.prompt, answer.response) not in known]


def judge(model: GPT, tok: Tokenizer, prompts: list[Row], cfg: Judge, file: Lines) -> None:
    """Show what nobody has judged yet, until all is judged or somebody stops."""
    for number, new in unjudged(model, tok, prompts, cfg, file):
        if new:
            text = one_line(prompts[number].prompt[-1].text, 1000)
            say(f"\n{number + 1} of {len(prompts)}  {text}")
        for answer in new:
            if (key := ask(answer)) == "q":
                return
            file.add({"prompt": answer.prompt, "response": answer.response, "label": KEYS[key]})
            write(Path(cfg.out), file.read(odd))


if __name__ == "__main__":
    sys.exit(config.run(main))
