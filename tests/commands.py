"""The commands as a person types them: the fixture `here`, a folder with files of a person, and
`call`."""
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from made import NANO, start_folder, write_jsonl

import nanouft.pictures
from nanouft import generate
from nanouft.plumbing.entry import command
from nanouft.run.checkpoint import BEST, CHECKPOINT

MAINS = {name: import_module(f"nanouft.{name}").main
         for name in ("train", "evaluate", "sample", "pretrain", "reward", "pushes")}
MAINS["data"] = import_module("nanouft.data.__main__").main
DEMOS = [{"prompt": f"Say {x}.", "response": x, "gold": x} for x in
         "fig pig bee oak nut elm ant owl fox hen".split()]
PAIRS = [{"prompt": d["prompt"], "chosen": d["gold"], "rejected": d["gold"][::-1]} for d in DEMOS]
MIXED = [{"prompt": f"Say {i} " + "word " * (199 * (i % 2 == 0)), "chosen": "a b", "rejected": "b"}
         for i in range(40)]                        # every second one is too long
TALK = [{"role": role, "content": f"{role} {i}"} for i in range(30)
        for role in ("user", "assistant")]
THUMBS = [{"prompt": f"Say {i} " + "word " * (199 * (i > 13)), "response": "a", "label": i < 12}
          for i in range(18)]                       # four of the bad ones are too long
THUMBS += [{"messages": TALK, "label": True}]       # it loses its oldest turns
FILES = {"demos.jsonl": DEMOS, "pairs.jsonl": PAIRS,
         "scores.jsonl": [{"prompt": f"Say {i}", "response": "a" + " a" * 9, "score": 0.5}
                          for i in range(9)],
         "even.jsonl": [{"prompt": f"Is {i} even?", "response": "No." if i % 2 else "Yes.",
                         "label": i % 3 > 0} for i in range(30)],
         "signs.jsonl": [{"prompt": f"ä → \ud800 {i}", "response": "日"} for i in range(12)],
         "thumbs.jsonl": THUMBS, "mixed.jsonl": MIXED, "too_long.jsonl": MIXED[::2],
         "wide.jsonl": [{"prompt": "Say" + " word" * 80}],
         "one.jsonl": PAIRS[:1], "twice.jsonl": [DEMOS[0] | {"gold": x} for x in "ab"],
         "held.jsonl": [{"prompt": "Sort b a.", "response": "a b", "score": 1},
                        {"prompt": "Name a colour.", "response": "red"}],
         "spaces.jsonl": [*DEMOS, {"prompt": "Say", "response": "a" + " " * 10**6 + "b"}],
         "kind.jsonl": [{"system": "You answer 'mails'.", **d} for d in DEMOS[:4]],
         "lines.jsonl": [{"system": "Two\nlines " * 9, **d} for d in DEMOS[:4]],
         "rated.jsonl": [PAIRS[0] | {"score_chosen": 8.5, "score_rejected": 3}],
         "fair.jsonl": [PAIRS[0] | {"score_chosen": 0.9, "score_rejected": 0.2}], "dpo.py": "",
         "script.py": "import nanouft\nnanouft.train.run('sft', steps=1, plain=True)\n",
         "mine.py": "",
         "r.py": "def length(completions, gold, **others):\n    return [len(c) / 9 for c in "
                 "completions]\ndef wrong(completions):\n    return 1 / 0\n"
                 "def f(completions):\n    return [len(c) % 5 / 5 for c in completions]\n"}


@pytest.fixture(scope="session")
def belongings(tmp_path_factory) -> Path:
    """A folder with files of a person, a tiny initial model and a trained run."""
    place = tmp_path_factory.mktemp("belongings")
    start_folder(place / "start")
    for name, content in FILES.items():
        if isinstance(content, str):
            (place / name).write_text(content)
        else:
            write_jsonl(place / name, content)
    with pytest.MonkeyPatch.context() as now:
        now.chdir(place)
        assert call("train --objective SFT --init start --data demos.jsonl --steps 2 --plain "
                    "--out run") == 0
    return place


@pytest.fixture(scope="module")
def here(belongings, tmp_path_factory):
    """A copy of that folder; we are in it."""
    place, before = tmp_path_factory.mktemp("here"), os.getcwd()
    shutil.copytree(belongings, place, dirs_exist_ok=True)
    os.chdir(place)
    yield place
    os.chdir(before)


@pytest.fixture
def datasets(tmp_path_factory, monkeypatch):
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    return library


def call(line: str) -> int:
    name, *argv = shlex.split(line)
    fixed = {"--resume", "--device"} & {*argv} or name in ("data", "pushes")
    return command(MAINS[name], argv if fixed else [*argv, "--device", "cpu"])


def dpo(place: Path, *more: str, out: str = "run", steps: int = 5) -> list[str]:
    """The words of a short run on its pairs, which is saved after every second step."""
    return ["--objective", "dpo", "--init", str(place / "start"), "--data",
            str(place / "pairs.jsonl"), "--batch-size", "4", "--steps", str(steps), "--save-every",
            "2", "--lr", "1e-3", "--plain", "--threads", "1", "--device", "cpu", "--out",
            str(place / out), *more]


def change_behind_its_time(file: Path, was: str, now: str) -> None:
    """Another content of the same size, with the time stamp of before: as out of an archive, or
    a layer of a container."""
    content, times = file.read_bytes(), file.stat()
    assert was.encode() in content and len(was) == len(now)
    file.write_bytes(content.replace(was.encode(), now.encode()))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


OF_RUN = "model.safetensors config.json tokenizer.json metrics.jsonl eval.json".split()


def is_like(run: Path, whole: Path) -> None:
    """It has the bytes of a run that was never interrupted, and nothing is left over."""
    for file in OF_RUN:
        alike = (run / file).read_bytes() == (whole / file).read_bytes()
        assert alike, f"{file} differs"                 # pytest would look for minutes where
    assert not [f.name for f in run.rglob("*")
                if f.name in (CHECKPOINT, BEST) or "partial" in f.name]


@contextmanager
def no_pictures() -> Iterator[None]:
    """Within this block no run draws curves.png, which takes longer than a short training."""
    stub = SimpleNamespace(draw_curves=lambda folder: None)
    with pytest.MonkeyPatch.context() as now:
        now.setitem(sys.modules, "nanouft.pictures.plots", stub)
        now.setattr(nanouft.pictures, "plots", stub, raising=False)
        yield


def typed(monkeypatch, *lines: str) -> list[tuple[str, dict]]:
    """(text, settings): what the models of `sample` are asked while a person types these lines."""
    said, asked, real = iter(lines), [], generate.generate
    monkeypatch.setattr("builtins.input", lambda words: next(said))
    monkeypatch.setattr(generate, "generate", lambda model, prompts, **how: asked.append(
        (NANO.decode(prompts[0]), how)) or real(model, prompts, **how))
    return asked
