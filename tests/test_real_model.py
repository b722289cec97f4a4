"""What must hold on a real model, with a tokenizer and a chat template that we did not make.

    python -m lessons.evidence.smollm2 out/smollm2          # 540 MB, once
    NANOUFT_REAL_MODEL=out/smollm2 python -m pytest tests/test_real_model.py
"""
import json
import os

import pytest
import torch
import torch.nn.functional as F
from made import CPU, killed_in_step, same, say
from safetensors.torch import load_file

from nanouft import sample, train
from nanouft.data.batches import collate, encode
from nanouft.data.rows import read
from nanouft.errors import command
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.run.reference import Models

REAL = os.environ.get("NANOUFT_REAL_MODEL", "")
if not REAL:
    pytest.skip("NANOUFT_REAL_MODEL names no folder of a real model", allow_module_level=True)
hf = pytest.importorskip("transformers")
ROWS = [("What does a fern need?", "Shade and water.", "No idea."),
        ("Which is hotter, ice or fire?", "Fire.", "Ice."),
        ("Name a red fruit.", "A cherry.", "A banana, which is yellow."),
        ("Is Tokyo in Japan?", "Yes, it is.", "No.")]
BETA = 0.1


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with rows, a run with LoRA, and the same run that was interrupted and resumed."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "rows.jsonl").write_text("".join(json.dumps(
        {"prompt": a, "chosen": b, "rejected": c}) + "\n" for a, b, c in ROWS))
    flags = ["--objective", "sft", "--init", REAL, "--data", str(folder / "rows.jsonl"), "--lora",
             "4", "--steps", "3", "--batch-size", "2", "--lr", "1e-3", "--save-every", "1",
             "--plain", "--device", "cpu", "--threads", "1"]
    assert command(train.main, [*flags, "--out", str(folder / "whole")]) == 0
    with killed_in_step(3):
        assert command(train.main, [*flags, "--out", str(folder / "resumed")]) == 130
    assert command(train.main, ["--resume", str(folder / "resumed")]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(place):
    return start_model(str(place / "whole"))


@pytest.fixture(scope="module")
def theirs(place):
    return hf.AutoModelForCausalLM.from_pretrained(place / "whole", dtype=torch.float32).eval()


def messages(*texts: str) -> list[dict]:
    return [{"role": ("user", "assistant")[i % 2], "content": x} for i, x in enumerate(texts)]


def labelled(t, prompt: str, answer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (1,T) of transformers' template, and TRL's labels: -100 outside the answer, which ends
    with its end token."""
    ids = t.apply_chat_template(messages(prompt, answer), return_dict=False)
    begin = len(t.apply_chat_template(messages(prompt), add_generation_prompt=True,
                                      return_dict=False))
    end = ids.index(t.eos_token_id, begin) + 1
    labels = [-100] * begin + ids[begin:end] + [-100] * (len(ids) - end)
    return torch.tensor([ids]), torch.tensor([labels])


@torch.no_grad()
def nats(net, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(N,) log-probs of the labels that count."""
    logits, wanted = net(input_ids=ids).logits[0, :-1], labels[0, 1:]
    return -F.cross_entropy(logits, wanted, reduction="none")[wanted != -100]


def test_the_mask_is_the_answer_with_the_end_token_of_the_template():
    tok = start_model(REAL)[1]
    assert tok.end == tok.t.eos_token_id
    for prompt, answer, _ in ROWS:
        ids, mask = tok.chat(say("user", prompt), say("assistant", answer))
        theirs, labels = labelled(tok.t, prompt, answer)
        assert ids == theirs[0].tolist()
        assert mask == (labels[0] != -100).int().tolist()
        assert tok.decode(i for i, m in zip(ids, mask) if m) == answer + tok.end_text


def test_losses_are_those_of_trls_formulas(place, trained, theirs):
    start, tok = start_model(REAL)
    first = hf.AutoModelForCausalLM.from_pretrained(REAL, dtype=torch.float32).eval()
    chosen, rejected = ([labelled(tok.t, row[0], row[i]) for row in ROWS] for i in (1, 2))
    sft = -torch.cat([nats(theirs, *x) for x in chosen]).mean()
    ratios = [[nats(theirs, *x).sum() - nats(first, *x).sum() for x in side]
              for side in (chosen, rejected)]
    margins = torch.stack(ratios[0]) - torch.stack(ratios[1])
    dpo = -F.logsigmoid(BETA * margins).mean()
    assert margins.abs().min() > 0.01, "the policy has left its reference"
    for name, expected in (("sft", sft), ("dpo", dpo)):
        objective = OBJECTIVES[name]()
        rows, _ = encode(objective.choose(read([str(place / "rows.jsonl")])[0]), tok, 256)
        rows = Models(start, tok.pad, CPU).prepare(rows, objective)
        batch = collate(rows, range(len(rows)), tok.pad)
        with torch.no_grad():
            objective.forward(trained[0], batch)
            same(objective.loss(batch)[0], expected, 1e-5)


def test_a_resumed_run_is_the_whole_run_bit_for_bit(place):
    whole, resumed = (load_file(place / x / "adapter" / "adapter_model.safetensors")
                      for x in ("whole", "resumed"))
    assert whole and all(torch.equal(whole[name], resumed[name]) for name in whole)
    whole, resumed = (load_file(place / x / "model.safetensors") for x in ("whole", "resumed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_adapter_is_the_merged_model(place, theirs):
    peft = pytest.importorskip("peft")
    base = hf.AutoModelForCausalLM.from_pretrained(REAL, dtype=torch.float32).eval()
    ids = torch.arange(100, 140)[None]
    with torch.no_grad():
        plain, merged = base(input_ids=ids).logits, theirs(input_ids=ids).logits
        adapted = peft.PeftModel.from_pretrained(base, str(place / "whole" / "adapter"))
        same(adapted(input_ids=ids).logits, merged, 1e-4)
    assert (merged - plain).abs().max() > 0.1, "training has changed the model"


def test_a_chat_of_two_turns_says_what_transformers_says(place, theirs, monkeypatch, capsys):
    t = hf.AutoTokenizer.from_pretrained(place / "whole")
    questions, talk = ["What does a fern need?", "And in winter?"], []
    for question in questions:
        talk.append(question)
        ids = t.apply_chat_template(messages(*talk), add_generation_prompt=True, return_dict=False)
        out = theirs.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long(),
                              do_sample=False, max_new_tokens=10)[0, len(ids):]
        talk.append(t.decode(out, skip_special_tokens=True).strip())
    typed = iter([*questions, "/quit"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    (place / "whole" / "run.json").rename(place / "run.json")       # or the start model answers too
    assert command(sample.main, [str(place / "whole"), "--max-new", "10", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert talk[1] and talk[3] and said.index(talk[1]) < said.rindex(talk[3])
