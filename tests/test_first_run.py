"""The first run of docs/data.md, as it stands there: on a tiny model, and on a real one where
NANOUFT_REAL_MODEL names its folder. The public file is replaced by a few rows of its form.

    NANOUFT_REAL_MODEL=out/smollm2 python -m pytest tests/test_first_run.py
"""
import json
import os
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
from made import start_folder, write_jsonl

from nanouft import sample, train
from nanouft.plumbing.entry import command

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
REAL = os.environ.get("NANOUFT_REAL_MODEL", "")
PUBLIC = "HuggingFaceH4/ultrafeedback_binarized"
LEFT_OUT = ("pip install", "git clone", "python llama.cpp/convert_hf_to_gguf.py",
            "python -m lessons.evidence.smollm2")


def dialogue(question: str, answer: str) -> list[dict]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


ROWS = [{"prompt": question, "prompt_id": question, "chosen": dialogue(question, "Red."),
         "rejected": dialogue(question, "No idea."), "messages": dialogue(question, "Red."),
         "score_chosen": 8.5, "score_rejected": 3.0}        # the columns of UltraFeedback
        for question in (f"Which colour has a ripe cherry, in house {i}?" for i in range(12))]


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """The folder after the whole section was run there, in short."""
    _, _, datasets = map(pytest.importorskip, ("peft", "accelerate", "datasets"))
    place = tmp_path_factory.mktemp("first_run")
    section = PAGE.read_text(encoding="utf-8").split("## A first run, from start to end\n")[1]
    start = Path(os.path.abspath(REAL) if REAL else start_folder(place / "out" / "smollm2"))
    write_jsonl(place / "public.jsonl", ROWS)
    section = re.sub(rf"hub:{PUBLIC}:[^\"]*", "public.jsonl", section.split("\n## ")[0])
    section = section.replace("out/smollm2", start.as_posix())
    with pytest.MonkeyPatch.context() as now:
        now.chdir(place)
        of_hub = {"as_dataset": lambda split: datasets.Dataset.from_list(ROWS[:4])}
        now.setattr(datasets, "load_dataset", lambda name, split: of_hub["as_dataset"](split))
        now.setattr(datasets, "load_dataset_builder", lambda name: SimpleNamespace(
            name="parquet", config=None, info=None, download_and_prepare=lambda: None, **of_hub))
        for language, block in re.findall(r"```(bash|python)\n(.*?)```", section, re.DOTALL):
            if language == "python":
                exec(compile(block, "docs/data.md", "exec"), {})
            for line in block.splitlines() if language == "bash" else ():
                run_line(line)
    return place


def run_line(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[2] == "nanouft.train":
        words = [w for w in words if w not in ("--epochs", "1")]
        assert command(train.main, [*words[3:], "--steps", "2", "--threads", "1", "--device",
                                    "cpu"]) == 0, line
    elif words[2] == "nanouft.sample":
        two = words[3:words.index("--prompt") + 3]
        assert command(sample.main, [*two, "--device", "cpu"]) == 0, line
    else:
        assert line.startswith(LEFT_OUT), f"nobody runs: {line}"


def test_the_first_run_ends_in_folders_that_transformers_opens_and_rows_that_una_reads(
        first_run, monkeypatch):
    """Its last lines bring scores to 0 to 1."""
    from transformers import AutoModelForCausalLM
    monkeypatch.chdir(first_run)
    for name in ("sft", "dpo"):
        AutoModelForCausalLM.from_pretrained(f"out/{name}")
    flags = "--objective una --data rated.jsonl --steps 1 --batch-size 2 --plain --device cpu"
    assert command(train.main, ["--init", "out/sft", "--out", "una", *flags.split()]) == 0
    row = json.loads(Path("rated.jsonl").read_text().splitlines()[0])
    assert row["score_chosen"] == pytest.approx(7.5 / 9)
