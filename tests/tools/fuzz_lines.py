"""Random command lines of every program, from its own flags and a list of values that nobody
means."""
import contextlib
import importlib
import io
import os
import random
import re
import shlex
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from fuzz import Case
from running import DEMOS, PAIRS, example, lines, tiny_folder

from nanouft import __main__ as console
from nanouft.objectives import OBJECTIVES
from nanouft.run import config

TRAINS = ("nanouft.train", "nanouft.pretrain", "nanouft.reward")  # these must take a first step
OWN = "--init tiny --threads 1"
FRONT = {               # what makes a command short, unless the line says otherwise
    "nanouft.simple": "--steps 1", "nanouft.train": f"{OWN} --rows 8 --steps 1 --items 0",
    "nanouft.evaluate": f"{OWN} --items 1", "nanouft.sample": "tiny --prompt Hi --max-new 2 "
    "--threads 1",
    "nanouft.ledger": f"{OWN} --show sft", "nanouft.reward": f"{OWN} --rows 8 --steps 1",
    "nanouft.pretrain": "--steps 1 --tokens 128 --threads 1", "nanouft.world": "--n 1",
    "lab.compare": "--init tiny --objectives sft --seeds 1 --items 1 --workers 1 --out o",
    "lab.claims": "C1 --write --out o",
    "lab.overoptimise": "--write --out o",
    "lab.again": "--rows sft --workers 1", "lab.methods": "--out m.md",
    "lab.cost": f"{OWN} --rows 8 --steps 1", "lab.bench": "--quick --threads 1",
    "frozen_lake.__main__": "--seeds 1 --updates 1 --objective sft",
    "graded_answers": "graded.jsonl --answers bad good"}
WEIGHTS = {"nanouft.train": 8, "nanouft.reward": 2, "nanouft.sample": 2, "nanouft.evaluate": 2,
           "nanouft.ledger": 2}
RARE = ("lab.compare", "lab.claims", "lab.again", "lab.bench",
        "frozen_lake.__main__")              # long before their first word
VALUES = ["", " ", "-", "--", "-1", "0", "1", "2", "7", "3.5", "0.5", "1e308", "-1e308", "1e-39",
          "1e9", "1000000", "nan", "inf", "-inf", "1" * 40, "0x10", "1_000", "٣", "²",
          "\x1b[31mred\x07", "\x9b2J", "a\nb", "a\rb", "a\tb", "\u202eabc", "\udcff\udcfe",
          "é" * 300, "x" * 5000, "学 ✓", "'", "\"", "$HOME", "*", "%s", "{}", "[]", "null", "True",
          "none/such", ".", "..", "/", "dir", "empty", "file.txt", "data.jsonl", "pairs.jsonl",
          "broken.jsonl", "binary.jsonl", "pipe", "/dev/null", "/dev/zero", "/dev/full",
          "/dev/stdin", "base", "tiny", "run", "sft", "sft ift", "all", "A", "A:B", "list", "1:2",
          "1:-2", "auto", "cpu", "cuda:99", "mps", "C5", "exact", "a/" * 99]

NAMES = ["data.jsonl", "pairs.jsonl", "file.txt", "base", "tiny", "run", "new", "new/er", "dir",
         "empty", "sft", "dpo", "all", "A", "1", "exact", "Hello."]


def surroundings(place: Path) -> None:
    """The files that VALUES name."""
    for name in ("dir", "empty"):
        (place / name).mkdir()
    (place / "dir" / "letter.txt").write_text("dear")
    (place / "file.txt").write_text("text " * 3000)
    lines(place / "data.jsonl", DEMOS)
    lines(place / "pairs.jsonl", PAIRS)
    lines(place / "graded.jsonl", [{"prompt": f"q{i}", "bad": "no", "good": f"yes {i}"}
                                   for i in range(40)])
    (place / "broken.jsonl").write_text('{"prompt": "a", "response": "b"}\n{"prompt": \n[1, 2]\n')
    (place / "binary.jsonl").write_bytes(bytes(range(256)) * 4)
    os.mkfifo(place / "pipe")
    tiny_folder(place / "tiny")
    (place / "run").mkdir()
    (place / "run" / "run.json").write_text('{"command": "train", "objective": "sft", "config": '
                                            '{}, "hp": {}}')


def programs() -> list[str]:
    # a package with a __main__.py is called by its name, and its main is there
    return [f"nanouft.{name}" for name in console.COMMANDS] + [
        "frozen_lake.__main__", "graded_answers"]


def main_of(program: str) -> Callable:
    if program == "graded_answers":
        return example(program).main
    room, _, name = program.partition(".")
    return console.main_of(name) if room == "nanouft" else importlib.import_module(program).main


@lru_cache
def flags(program: str, objective: str = "") -> list[tuple[str, str]]:
    """(flag, the word for its value or "") of a program, from its --help."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main_of(program)([*(["--objective", objective] if objective else []), "--help", "all"])
    found = re.findall(r"^  (?:-h, )?(--[a-z][\w-]*)( [A-Z{\[][^ ]*)?", text.getvalue(), re.M)
    return [(name, value.strip()) for name, value in dict(found).items() if name != "--help"]


def value(word: str, rng: random.Random) -> str:
    """Half of the values are of the flag's kind: what is refused at once tests nothing behind
    it."""
    if rng.random() < 0.5:
        return rng.choice(VALUES)
    kinds = {"INT": ["0", "1", "2", "7", "33", "1000", "1000000", "1000000000"],
             "FLOAT": ["0", "1e-12", "0.001", "0.5", "1", "7.5", "1000", "1000000000", "-1"]}
    return rng.choice(kinds.get(word) or (word[1:-1].split(",") if word[0] == "{" else NAMES))


def draw(program: str, rng: random.Random) -> list[str]:
    objective = rng.choice(list(OBJECTIVES)) if program in ("nanouft.train", "lab.cost") else ""
    known = flags(program, objective)
    mine: list[str] = ["--objective", objective] if objective else []
    for name, word in rng.sample(known, min(len(known), rng.choice((1, 1, 1, 2, 2, 3)))):
        if not word:
            mine += [name] if rng.random() < 0.9 else [f"{name}={rng.choice(VALUES)}"]
        elif rng.random() < 0.3:
            mine.append(f"{name}={value(word, rng)}")
        else:
            mine += [name, value(word, rng), *([rng.choice(VALUES)] if rng.random() < 0.1 else [])]
    if rng.random() < 0.1:
        mine.insert(rng.randrange(len(mine) + 1),
                    rng.choice([*VALUES, "--unknown", "-x", "--seeed"]))
    return front(program, mine) + mine


def front(program: str, mine: list[str]) -> list[str]:
    """The words of FRONT but the flags that `mine` sets itself."""
    taken = {m.split("=")[0] for m in mine if m.startswith("--")}
    taken |= {"--steps"} if "--epochs" in taken else set()
    taken |= {"--rows", "--items"} if "--data" in taken else set()
    if "--resume" in taken:
        return []
    flags = re.split(" (?=--)", FRONT.get(program, ""))                 # each with its values
    return shlex.split(" ".join(flag for flag in flags if flag.split(" ")[0] not in taken))


def begun(program: str) -> Callable[[Path, str], bool]:
    """Has it done anything? Where it trains: a first step, or a bar that moves."""
    def first_step(folder: Path, said: str) -> bool:
        if program == "nanouft.pretrain":
            return bool(re.search(r"pretrain: .*[1-9]\d*/", said))
        return any(f.stat().st_size
                   for f in folder.rglob("metrics.jsonl")) or bool(re.search(r"[1-9]%\|", said))
    return first_step if program in TRAINS else lambda folder, said: bool(said.strip())


def case(program: str, argv: list[str], place: Path) -> Case:
    def prepare(folder: Path) -> None:
        for f in (place / "around").iterdir():
            os.symlink(f, folder / f.name)
    called = program.removesuffix(".__main__")
    return Case(f"{called} {shlex.join(argv)}", lambda: config.run(main_of(program), argv), prepare,
                begun=begun(program))


def cases(n: int | None, rng: random.Random, place: Path) -> Iterator[Case]:
    (place / "around").mkdir()
    surroundings(place / "around")
    names = [p for p in programs() if p not in RARE
             for _ in range(3 * WEIGHTS.get(p, 1))] + list(RARE)
    for p in programs():
        main_of(p)                                              # imported once
    for _ in range(n or 300):
        program = rng.choice(names)
        yield case(program, draw(program, rng), place)
