"""Five faults of 0.5.0. Each of these tests failed there."""
import json
import os
import shutil
import signal

import pytest
import torch
from made import NANO, nano

from nanouft import models, train
from nanouft.batches import encode
from nanouft.errors import UserError
from nanouft.loop import Device
from nanouft.models import read_tokenizer, save_model, start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models
from nanouft.rows import Row, Turn, prompt_rows
from nanouft.sampling import Rollouts
from nanouft.tokenizer import Tokenizer

WORDS = "fig pig bee saw oak elm ant owl".split()


@pytest.mark.parametrize("name", ["rloo", "reinforce"])
def test_a_constant_reward_moves_no_weight_in_fp32(name, tmp_path):
    """The two log-probs of the KL penalty came from decoding and from a forward. They differ in the
    last digits (a gradient of 1.6e-6), and Adam makes whole steps of that."""
    (tmp_path / "const.py").write_text("def f(prompts, **_):\n    return [1.0] * len(prompts)\n")
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"prompt": f"Say {w} twice."}) + "\n"
                                              for w in WORDS * 2 for w in (w, w + "s")))
    train.main(["--objective", name, "--data", str(tmp_path / "p.jsonl"), "--steps", "2",
                "--reward", f"{tmp_path / 'const.py'}:f", "--batch-size", "4", "--max-new", "8",
                "--plain", "--save-every", "0", "--device", "cpu", "--out", str(tmp_path / "n")])
    lines = [json.loads(x) for x in (tmp_path / "n/metrics.jsonl").read_text().splitlines()]
    assert [x["grad_norm"] for x in lines] == [0, 0] and lines[0]["decode_gap"] > 0


def test_an_upper_clip_of_zero_is_refused_and_not_replaced():
    GRPO = OBJECTIVES["grpo"].hp
    assert GRPO(surrogate="gspo").eps_high == 4e-4
    with pytest.raises(UserError, match="--eps-high 0.0: must be above 0"):
        GRPO(surrogate="gspo", eps_high=0.0, minibatches=4).check()


def test_a_teacher_with_as_many_other_tokens_is_refused():
    """As many ids, but 200 of them mean the words of others."""
    swapped = {token: {700: 900, 900: 700}.get(i, i) for token, i in NANO.ranks.items()}
    other = Tokenizer("other", swapped, NANO.pattern, NANO.special)
    for tok, fine in ((NANO, True), (other, False)):
        ask = Models(nano(), NANO.pad, Device(), lambda folder: (nano(1), tok), NANO)
        if fine:
            ask.same_tokens("teacher")
        else:
            with pytest.raises(UserError, match="both must have one tokenizer"):
                ask.same_tokens("teacher")


class Louder(torch.nn.Module):
    """Another network than the policy, as a compiled one is: its log-probs are higher by 1."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *args, want="logits", **how):
        return self.model(*args, want=want, **how) + (want == "logp")


def test_old_log_probs_are_asked_of_the_network_of_the_steps():
    """In half precision a ratio compares two forwards, which must be one program."""
    grpo, policy = OBJECTIVES["grpo"], nano()
    hp = grpo.hp(samples=2, minibatches=2)
    prompts = prompt_rows([Row((Turn("user", f"Say {w}."),)) for w in WORDS], hp)
    source = Rollouts(encode(prompts, NANO, 40)[0], grpo, hp, policy, nano(9), NANO,
                      lambda rows, answers: [float(len(a)) for a in answers],
                      rows=2, steps=2, max_new=6, device=Device("cpu", "bf16"))
    source.net = Louder(policy)
    first, second = source(0).seqs["answer"], source(1)
    assert first.sampled_logp is None, "the first step asks by itself"
    with source.device.autocast(), torch.no_grad():
        grpo.forward(source.net, second, hp)
    s = second.seqs["answer"]
    assert torch.equal(s.sampled_logp, s.logp.float())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_named_adapter_does_not_hang_the_end_of_a_run(tmp_path):
    os.mkfifo(tmp_path / "adapter")
    signal.alarm(20)                                    # ends the test if it waits
    save_model(tmp_path, nano(), NANO)
    signal.alarm(0)
    assert start_model(str(tmp_path))[1].n_vocab == NANO.n_vocab


def test_an_adapter_that_a_killed_run_left_is_replaced(tmp_path, monkeypatch):
    class Adapted(type(nano())):
        def save_pretrained(self, folder, end):
            (folder / "adapter").mkdir()
            (folder / "adapter" / "new").touch()
            models.write_gpt(folder, self, end)
    model = nano()
    model.__class__ = Adapted
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "old").touch()
    save_model(tmp_path, model, NANO)
    assert [f.name for f in (tmp_path / "adapter").iterdir()] == ["new"]
    assert read_tokenizer(tmp_path).n_vocab == NANO.n_vocab
    shutil.rmtree(tmp_path / "adapter")
