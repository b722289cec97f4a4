"""The shipped base is what its command makes.

    python -m pytest -m slow tests/core/test_pretrain.py     # makes the base: 6 minutes
"""
import gzip
import json
import os
import random
import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from running import DEMOS, call, lines
from tiny import CPU, NANO

from nanouft import pretrain, train
from nanouft.data.rows import Turn
from nanouft.eval.scores import families
from nanouft.gpt import GPT, SIZES, GPTConfig
from nanouft.models.load import BASE, start_model
from nanouft.pretrain import Pretrain, base_key, read_corpus

SHAPE = GPTConfig(**{**asdict(SIZES["nano"]), "vocab_size": NANO.n_vocab})
SHIPPED = json.loads((BASE / "run.json").read_text(encoding="utf-8"))


def test_the_shipped_base_belongs_to_this_world():
    assert SHIPPED["key"] == base_key(Pretrain(), SHAPE, 3300, NANO), \
        "the corpus or the settings changed: make the base again (nanouft/pretrain.py says how)"
    assert SHIPPED["base_version"] == pretrain.BASE_VERSION


def test_the_key_knows_what_a_base_is_made_of(tmp_path, monkeypatch):
    text = tmp_path / "a.txt"
    text.write_text("one")
    keys = [base_key(c, SHAPE, n, NANO) for c, n in [
        (Pretrain(), 3300), (Pretrain(), 100), (Pretrain(seed=1), 3300), (Pretrain(lr=1e-3), 3300),
        (Pretrain(corpus=[str(text)]), 3300)]]
    text.write_text("two")
    keys += [base_key(Pretrain(corpus=[str(text)]), SHAPE, 3300, NANO),
             base_key(Pretrain(), replace(SHAPE, n_layer=5), 3300, NANO)]
    elsewhere = base_key(Pretrain(out="x", threads=1, half=True), SHAPE, 100, NANO)
    assert elsewhere == keys[1], "where it is kept and how fast it was made is not what it is"
    monkeypatch.setattr(pretrain, "BASE_VERSION", pretrain.BASE_VERSION + 1)
    keys.append(base_key(Pretrain(), SHAPE, 3300, NANO))
    assert len(set(keys)) == len(keys), "each of these changes gives another key"


def test_a_short_pretraining_learns_and_keeps_its_key(tmp_path):
    folder = pretrain.pretrain(Pretrain(steps=12, tokens=512, out=str(tmp_path / "b"), threads=1,
                                        device="cpu"))
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["held_out_loss"]["after"] < run["held_out_loss"]["before"] - 0.3
    assert run["key"] != SHIPPED["key"]
    pretrain.pretrain(Pretrain(steps=1, tokens=256, width=64, out=str(tmp_path / "c"), threads=1,
                               device="cpu"))
    assert json.loads((tmp_path / "c" / "config.json").read_text(encoding="utf-8"))["n_embd"] == 64


def test_only_the_matrices_of_the_layers_decay():
    """Embeddings, biases and LayerNorms stay free of it, and no weight is left out."""
    model = GPT(SHAPE, seed=0)
    groups = pretrain.make_optimizer(model, Pretrain(), CPU).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    matrices = {name for name, p in model.named_parameters() if decay[id(p)] > 0}
    assert matrices == {f"h.{layer}.{name}.weight" for layer in range(SHAPE.n_layer)
                        for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
    assert len(decay) == len(list(model.parameters()))


# ---- a text of the user's ------------------------------------------------------------------------
WORDS = ("a fox met an owl near the old mill; the owl said good evening, the fox said nothing, "
         "\u6c34\u9053 caf\u00e9")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(pretrain.SIZES, "nano", replace(SIZES["nano"], n_layer=1, n_embd=16))


def own_text(folder, form):
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS.split(), k=60)) for _ in range(40)]
    file = folder / f"my.{form}"
    lines = {"txt": texts, "jsonl": [json.dumps({"text": t}) for t in texts],
             "json": ["[" + ",\n".join(json.dumps({"text": t, "id": 1}) for t in texts)
                      + "]"]}[form]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.mark.parametrize("form", ["txt", "jsonl", "json"])
def test_a_base_of_ones_own_reads_its_text_in_long_pieces(form, here, small, brief, capsys):
    file = own_text(here, form)
    assert call(pretrain.main, "--corpus", file.name, "--vocab", 300, "--ctx", 128, "--steps", 2,
                "--out", "mine") == 0
    said = capsys.readouterr().out
    letters = float(re.search(r"300 ids, ([\d.]+) characters a token", said)[1])
    assert letters > 1.5
    assert ("40 texts (JSON" in said) == (form != "txt"), \
        "LAW: JSON is announced and read as texts, not as letters"
    model, tok = start_model("mine")
    assert model.cfg.vocab_size == tok.n_vocab == 300 and model.cfg.n_ctx == 128
    assert tok.decode(tok.encode(WORDS)) == WORDS and "{" not in WORDS
    ids, mask = tok.chat((Turn("user", "the fox"),), (Turn("assistant", "the owl"),))
    assert ids.count(tok.user) == ids.count(tok.assistant) == ids.count(tok.end) == 1 \
        and sum(mask) < len(ids)
    ids, again, _ = read_corpus(Pretrain(corpus=[file.name], vocab=300))
    assert again.ranks == tok.ranks and (ids == tok.end).sum() == (0 if form == "txt" else 40), \
        "and --resume finds it"
    lines(here / "MY.jsonl", [*DEMOS, {"prompt": "the fox " * 300, "response": "the owl"}])
    capsys.readouterr()
    assert call(train.main, "--objective", "sft", "--data", "MY.jsonl", "--init", "mine", "--steps",
                1) == 0
    assert "nanouft.pretrain --corpus MY.jsonl --ctx 1024" in capsys.readouterr().out, \
        "the remedy is a command"


@pytest.mark.parametrize("fields", [(), ("frage", "antwort")])
def test_a_file_for_training_is_a_corpus_too_and_the_remedy_for_long_rows_works(
        fields, here, small, brief, capsys):
    long = [{**d, "response": f"{d['response']} the owl" * 300} for d in DEMOS * 2]
    rows = [dict(zip(fields, row.values())) for row in long] if fields else long
    lines(here / "my own.jsonl", rows)
    named = ("--prompt-field", fields[0], "--response-field", fields[1]) if fields else ()
    call(train.main, "--objective", "sft", "--data", "my own.jsonl", *named)
    error = capsys.readouterr().err
    corpus, ctx = re.search("nanouft.pretrain --corpus '(.*)' --ctx ([0-9]+)", error).groups()
    assert call(pretrain.main, "--corpus", corpus, "--ctx", ctx, *named, "--steps", 1, "--tokens",
                64) == 0
    out = capsys.readouterr().out
    again = shlex.split(out.split("python -m nanouft.")[1])
    assert call(train.main, *again[1:], "--steps", 1, "--batch-size", 2) == 0
    assert "skipped" not in capsys.readouterr().out, "LAW: every row is kept now"
    texts, kind = pretrain.read_texts(
        Pretrain(corpus=["my own.jsonl"], **dict(zip(("prompt_field", "response_field"), fields))))
    assert kind == "rows" and texts[0] == f"{long[0]['prompt']}\n\n{long[0]['response']}"


def test_defaults_go_by_size(here, small, monkeypatch):
    asked = []
    monkeypatch.setattr(pretrain, "train_bpe", lambda words, size, show: asked.append(size + 4)
                        or NANO.ranks)
    for size, want in ((1_000, 1024), (300_000, 2048), (1_000_000, 4096)):
        (here / "t.txt").write_text("ab cd " * (size // 6))
        read_corpus(Pretrain(corpus=["t.txt"]))
        assert asked[-1] == want


def test_texts_in_tables_and_packed_files(here):
    (here / "a.csv").write_text('id,text\n1,"pig, bee"\n2,owl\n')
    (here / "b.txt.gz").write_bytes(gzip.compress(b"pig bee"))
    assert pretrain.read_texts(Pretrain(corpus=["a.csv"])) == (["pig, bee", "owl"], "documents")
    assert pretrain.read_texts(Pretrain(corpus=["b.txt.gz"])) == (["pig bee"], "text")
    (here / "all").mkdir()
    for name in ("1.txt", "2.md", "3.png"):
        (here / "all" / name).write_text(name)
    assert pretrain.read_texts(Pretrain(corpus=["all", "a.csv"])) \
        == (["1.txt", "2.md", "pig, bee", "owl"], "documents")
    os.makedirs("saved/deep")
    for name in ("saved/a.txt", "saved/deep/b.txt"):
        Path(name).write_text("pig")
    keys = [base_key(Pretrain(corpus=["saved"]), SHAPE, 9, NANO) for _ in range(2)]
    Path("saved/deep/b.txt").write_text("bee")
    assert keys[0] == keys[1] != base_key(Pretrain(corpus=["saved"]), SHAPE, 9, NANO), \
        "a folder is all of its files"


@pytest.mark.slow
def test_the_base_can_be_made_again(tmp_path):
    """Not bit for bit (threads and machines differ), but the same base: loss, knowledge and habits
    within a band."""
    folder = pretrain.pretrain(Pretrain(out=str(tmp_path / "again"), device="cpu"))
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["key"] == SHIPPED["key"]
    assert abs(run["held_out_loss"]["after"] - SHIPPED["held_out_loss"]["after"]) < 0.06
    (old, _), (new, _) = (families(*start_model(name), CPU, "val")
                          for name in ("base", str(folder)))
    for family, was in old.items():
        assert abs(new[family]["score"] - was["score"]) < 0.15, f"{family}: {was} -> {new[family]}"
        assert abs(new[family]["ends"] - was["ends"]) < 0.25, family
    assert new["fact"]["score"] > 0.95
