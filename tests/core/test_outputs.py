"""Every file is written by run/storage.py and every line printed by run/words.py: so nothing that a
link leads to is overwritten, and nothing that somebody wrote acts on a terminal."""
import ast
import os
from pathlib import Path

import pytest
from running import DEMOS, ROOT, call, lines

import frozen_lake.__main__ as lake
from nanouft import evaluate, pretrain, reward, train
from nanouft.eval import plots
from nanouft.eval import rows as look
from nanouft.rewards import harvest
from nanouft.run.storage import LOCK, Lines, locked, write_bytes, write_json, write_text

WRITES = ("write_text", "write_bytes", "savefig", "touch")
EXCEPT = {
    "nanouft/run/storage.py": "open write_bytes write_text",    # the writer; a lock, in place
    "nanouft/run/log.py": "open",                   # appends; Lines.rewrite has made the file new
    "nanouft/run/checkpoints.py": "open",           # flushes what it wrote, in a new folder
    "nanouft/eval/plots.py": "savefig",             # into memory
    "nanouft/run/command.py": "open", "nanouft/run/devices.py": "open",             # os.devnull
    "nanouft/run/rows.py": "print", "nanouft/eval/rows.py": "print",    # show_mask has colours
    "nanouft/simple.py": "print",                   # needs nothing of run/
    "lessons/cheat_sheet/draw.py": "savefig",       # into memory
}


def outputs(file: Path) -> set[str]:
    """How the code of a file writes or prints, where it does not ask for it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            last, owner = name.split(".")[-1], name.split(".")[0]
            mode = ast.unparse(node.args[1]) if node.args[1:] else "'r'"
            if (name in ("print", "tqdm.write", "sys.stdout.write", "sys.stderr.write")
                    or last in WRITES and isinstance(node.func, ast.Attribute)
                    or last == "save" and owner in ("np", "torch")
                    or name in ("open", "io.open") and set(mode) & set("wax+")):
                found.add(last)
    return found


def test_one_writer_and_one_printer():
    found = {file.relative_to(ROOT).as_posix(): " ".join(sorted(outputs(file)))
             for place in ("nanouft", "frozen_lake") for file in (ROOT / place).rglob("*.py")}
    places = ("lab", "lessons/gallery", "lessons/cheat_sheet")  # these print their own words
    found |= {f.relative_to(ROOT).as_posix(): " ".join(sorted(outputs(f) - {"print", "write"}))
              for place in places for f in (ROOT / place).glob("*.py")}
    assert {file: how for file, how in found.items() if how} == EXCEPT


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_what_a_link_leads_to_is_not_changed(link, here, monkeypatch):
    """Neither by a whole file, nor by a picture, nor by what is added to one."""
    kept = here / "precious"
    kept.write_text("{}\n")
    for name, write in (("a", lambda f: write_text(f, "x")), ("b", lambda f: write_json(f, {})),
                        ("c", lambda f: write_bytes(f, b"x")), ("d", Lines(here / "d").add),
                        ("e.png", lambda f: plots.save(plots.plt.figure(), f)),
                        (LOCK, lambda f: locked(f).__enter__())):
        link(kept, here / name)
        try:
            write(here / name)
        except Exception as e:
            assert "is a link" in str(e) and name in ("d", LOCK)
        assert kept.read_text() == "{}\n", name
    (here / "d").unlink()
    monkeypatch.setattr(lake, "run", lambda *args: {})
    monkeypatch.setattr(lake.page, "content", lambda *args: {})
    link(kept, here / "index.html")
    lake.page.write(here, {"map": {"name": "x", "rows": ["SG"], "slippery": False}, "hp": {}})
    assert kept.read_text() == "{}\n"


NAME = "\x1b[31mred\x9b.jsonl"


def test_a_name_of_a_file_does_not_act_on_the_terminal(here, tiny_base, brief, capsys):
    (here / "d").mkdir()
    pairs = [{"prompt": d["prompt"], "chosen": "a", "rejected": "b"} for d in DEMOS]
    lines(here / "d" / NAME, [*DEMOS, *pairs, {"prompt": "x " * 400, "response": "y"}])
    (here / "my.py").write_text("def f(prompts, answers): return [0] * len(answers)")
    few = ["--init", tiny_base, "--data", "d"]
    for main, argv in (
            (look.main, ["d", "--init", tiny_base]), (evaluate.main, [tiny_base, "--data", "d"]),
            (train.main, ["--objective", "sft", *few, "--steps", 1]),
            (reward.main, [*few, "--steps", 1]),
            (harvest.main, [*few, "--reward", "my.py:f", "--max-new", 2, "--samples", 1]),
            (pretrain.main, ["--corpus", "d", "--steps", 1, "--ctx", 16])):
        assert call(main, *argv) == 0
        out, err = capsys.readouterr()
        assert NAME[1:5] in out and not {"\x1b", "\x9b"} & set(out + err), main
