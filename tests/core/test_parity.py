"""The parity script: what we have agrees with TRL, the authors' code and plain formulas, and the script can fail."""
import json
from dataclasses import replace
from pathlib import Path

import parity
import pytest

from nanouft.objectives import OBJECTIVES
from nanouft.shell.config import run

FILE = Path(__file__).parents[1] / "tools" / "parity.json"
OURS = ",".join(OBJECTIVES)
HAVE = "sft,ift,dpo,una,uft,poft,kto,orpo,grpo"


def script(*argv: str) -> int:
    return run(parity.main, list(argv))


def lines(out: str) -> dict[str, str]:
    return {line.split()[0]: line for line in out.splitlines() if line}


@pytest.fixture
def data() -> dict:
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture
def dpo(data) -> dict:
    """The case "dpo" of the file."""
    return next(c for s in data["sets"].values() for c in s["cases"] if c["name"] == "dpo")


@pytest.fixture
def changed(tmp_path, data):
    """Write a parity file with one case changed; returns its path."""
    def write(which: str, **kw) -> str:
        for s in data["sets"].values():
            for case in s["cases"]:
                if case["name"] == which:
                    case.update(kw)
        (tmp_path / "p.json").write_text(json.dumps(data), encoding="utf-8")
        return str(tmp_path / "p.json")
    return write


def test_every_case_of_our_objectives_agrees(capsys):
    assert script(str(FILE), "--only", OURS) == 0
    seen = lines(capsys.readouterr().out)
    assert not [line for line in seen.values() if "DIFFERS" in line], "optional cases, too: NCA, APO and SPPO"
    wanted = {"dpo", "dpo_beta0.5", "cdpo", "sft_token_mean", "sft_sequence_mean", "ift_released", "nca_pair",
              "apo_zero",
              "ift_released_gamma1", "ift_released_gamma0.5", "ift_released_gamma0", "ift_eq21", "ift_algorithm1",
              "orpo_align", "orpo_nll_prompt_and_response", "orpo_nll_response_only", "rloo_advantage", "loss_dr_grpo",
              "grpo_advantage_unbiased_std_eps1e-4", "gae_gamma1.0_lam0.95", "k3_kl_masked_mean", "sppo_hard"}
    assert wanted <= seen.keys(), f"never computed: {wanted - seen.keys()}"


@pytest.mark.parametrize("name", HAVE.split(","))
def test_a_flipped_sign_is_seen(name, monkeypatch, capsys):
    honest = OBJECTIVES[name]

    def flipped(batch, hp):
        loss, metrics = honest.loss(batch, hp)
        return -loss, metrics
    monkeypatch.setitem(OBJECTIVES, name, replace(honest, loss=flipped))
    assert script(str(FILE), "--only", name) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_weights_are_checked_and_not_only_the_loss(changed, capsys):
    path = changed("ift_released_gamma0", weights=[[0.0] * 9] * 4)
    assert script(path, "--only", "ift_released_gamma0") == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_rows_are_checked_and_not_only_their_mean(changed, dpo):
    a, b, *rest = dpo["per_example"]
    assert script(changed("dpo", per_example=[a + 1e-5, b - 1e-5, *rest]), "--only", "dpo") == 1


def test_the_tolerance_is_a_millionth(changed, dpo):
    loss = dpo["loss"]
    for error, code in ((2e-6, 1), (5e-7, 0), (float("nan"), 1)):
        assert script(changed("dpo", loss=loss + error), "--only", "dpo") == code
    assert script(changed("dpo", loss=0.0, optional=True), "--only", "dpo") == 0, "an optional case does not count"


def test_what_cannot_be_computed_is_missing_and_not_ignored(changed, capsys):
    assert script(changed("dpo", params={"beta": 0.1, "margin": 1.0}), "--only", "dpo") == 1
    assert "MISSING" in lines(capsys.readouterr().out)["dpo"], "a parameter that we lack"
    assert script(changed("dpo", name="no_such_loss"), "--only", "no_such_loss") == 1
    assert "MISSING" in capsys.readouterr().out, "a case without objective"
