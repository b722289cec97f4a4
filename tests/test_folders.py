"""Folders of others, full disks and two processes: nothing random, nothing lost, one line."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_transformers import CHATML, make

from nanouft import train
from nanouft.errors import command
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Turn

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path) -> Path:
    make(tmp_path / "model", "qwen2", CHATML)
    return tmp_path / "model"


def change(folder: Path, edit) -> None:
    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, {"format": "pt"})


def without(name: str):
    return lambda weights: {k: w for k, w in weights.items() if name not in k}


def not_a_number(weights: dict) -> dict:
    weights["model.norm.weight"][3] = torch.nan
    return weights


DAMAGES = {     # what is done to the weights: what the line says
    "a layer is missing": (without("layers.1."), "its files lack model.layers.1."),
    "all have another name": (lambda w: {f"_orig_mod.{k}": x for k, x in w.items()},
                              "its files lack "),
    "a matrix has another shape": (lambda w: w | {"model.norm.weight": torch.ones(7)},
                                   "model.norm.weight"),
    "one is not read": (lambda w: w | {"model.layers.2.mlp.up_proj.weight": torch.ones(2, 2)},
                        "does not use model.layers.2.mlp.up_proj.weight"),
    "one is not finite": (not_a_number, "model.norm.weight is not finite"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_is_never_completed_with_random_weights(damage, folder, capsys):
    edit, told = DAMAGES[damage]
    change(folder, edit)
    assert command(lambda _: start_model(str(folder)) and 0) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f"error: {folder}: ") and told in error


def test_a_head_that_is_neither_tied_nor_there_is_refused(folder, capsys):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    change(folder, without("lm_head"))
    assert command(lambda _: start_model(str(folder)) and 0) == 2
    assert "its files lack lm_head.weight" in capsys.readouterr().err


def test_known_buffers_and_a_reward_head_are_no_strangers(folder):
    change(folder, lambda w: w | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
                                  "score.weight": torch.ones(1, 32)})
    one, two = (start_model(str(folder))[0](torch.arange(6)[None]) for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("more", [[], ["--lora", "4"]])
def test_what_transformers_refuses_to_write_is_known_before_training(more, folder, tmp_path):
    """Sampling settings without do_sample are read, and refused when a model is saved."""
    pytest.importorskip("peft")
    file = folder / "generation_config.json"
    settings = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(settings | {"temperature": 0.9, "top_p": 0.6, "do_sample": False}))
    out = tmp_path / "run"
    assert train.main(["--objective", "sft", "--init", str(folder), "--rows", "8", "--steps", "1",
                       "--batch-size", "4", "--plain", "--save-every", "0", "--device", "cpu",
                       "--out", str(out), *more]) == 0
    start_model(str(out))


def test_of_named_templates_the_default_one_is_taken(folder):
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    named = [{"name": "tool_use", "template": "{{ 1 / 0 }}"},
             {"name": "default", "template": CHATML}]
    file.write_text(json.dumps(config | {"chat_template": named}))
    assert start_model(str(folder))[1].prompt_ids((Turn("user", "Say fig."),))


def test_a_template_that_tells_the_day_tells_the_same_one_every_day(folder):
    dated = "{{- strftime_now('%d %B %Y') -}}" + CHATML
    (folder / "chat_template.jinja").write_text(dated)
    tok = start_model(str(folder))[1]
    assert tok.decode(tok.prompt_ids((Turn("user", "Say fig."),))).startswith("2024-07-26<|im")


def test_half_of_a_character_is_read_as_the_shipped_tokenizer_reads_it(folder):
    for tok in (start_model(str(folder))[1], start_model("base")[1]):
        ids = tok.prompt_ids((Turn("user", "Say \ud83d fig."),))
        assert "Say \ufffd fig." in tok.decode(ids)


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from nanouft import train
from nanouft.errors import command
sys.exit(command(train.main, sys.argv[2:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(tmp_path):
    """A file may grow to 2 MB, and weights take 4."""
    run = tmp_path / "run"
    words = ["--objective", "sft", "--rows", "32", "--steps", "4", "--batch-size", "4", "--plain",
             "--save-every", "2", "--threads", "1", "--device", "cpu", "--out", str(run)]
    full = subprocess.run([sys.executable, "-c", LIMITED, "2000000", *words], cwd=ROOT, text=True,
                          capture_output=True)
    assert full.returncode == 2 and "Traceback" not in full.stderr
    assert full.stderr.strip().splitlines()[-1].endswith("; make room")
    assert train.main(["--resume", str(run)]) == 0 and (run / "model.safetensors").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_two_processes_do_not_train_in_one_folder(tmp_path, capsys):
    from nanouft.run.folder import only_here
    (tmp_path / "run.json").write_text("{}")
    first = only_here(tmp_path)
    code = ("from nanouft.run.folder import only_here; from nanouft.errors import command; "
            "import sys; from pathlib import Path; "
            f"sys.exit(command(lambda _: only_here(Path({str(tmp_path)!r})) and 0))")
    second = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 2 and "another process is training there" in second.stderr
    first.close()
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
