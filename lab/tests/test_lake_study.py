"""Claim C5 on the Frozen Lake: cells, intervals, verdicts."""
import shutil
from dataclasses import replace

import pytest

from frozen_lake.measure import joined
from lab import lake_study as experiment
from lab import runner
from lab.lake_study import BASE, FIELDS, METHODS, SETTINGS, key, run_study, study, summary
from nanouft.errors import UserError
from nanouft.eval.stats import interval
from nanouft.run.storage import Lines, read_json

NAMES = ["short", "short slippery", "short online"]


def be_short(patch) -> None:
    """Settings of 10 updates, chunks of 2 maps."""
    patch.setitem(SETTINGS, "short", replace(BASE, steps=10))
    patch.setitem(SETTINGS, "short slippery", replace(BASE, steps=10, slippery=True))
    patch.setitem(SETTINGS, "short online",
                  replace(BASE, steps=10, online=True, start="presub", policy="table"))
    patch.setattr(experiment, "CHUNK", 2)
    patch.setattr(experiment, "EARLY", 5)
    patch.setattr(runner, "finished_jobs", lambda work, jobs, workers: (work(*job) for job in jobs))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished study of three settings on four maps, with two seeds."""
    place = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        be_short(patch)
        study(place, 4, 2, 1, NAMES)
    return place


@pytest.fixture
def short(made, tmp_path, monkeypatch):
    """A copy of it, where its settings are known."""
    be_short(monkeypatch)
    return shutil.copytree(made, tmp_path / "study")


def test_one_factor_at_a_time():
    """Every setting differs from the base in one factor, or says two in its name; all names are
    different settings."""
    assert SETTINGS["base"] == BASE and len(set(SETTINGS.values())) == len(SETTINGS)
    for name, s in SETTINGS.items():
        changed = [f for f in vars(s) if getattr(s, f) != getattr(BASE, f)]
        assert len(changed) == (0 if name == "base" else 1 + ("," in name)), name
    factors = {f for s in SETTINGS.values() for f in vars(s) if getattr(s, f) != getattr(BASE, f)}
    assert {"policy", "start", "loser", "slippery", "lam", "gamma", "beta", "online"} <= factors


def test_the_rule():
    assert joined(["holds"] * 3) == "holds"
    assert joined(["holds", "undecided", "does not hold"]) == "does not hold"
    assert joined(["holds", "undecided", "holds"]) == "undecided"


def cells(dpo: float, ift: float, orpo: float, sft: float, n: int = 6) -> list[dict]:
    """Made-up cells around these distances."""
    values = dict(zip(("dpo", "ift", "orpo", "sft"), (dpo, ift, orpo, sft)))
    return [{m: [values[m] + 0.001 * (i + k) for _ in FIELDS] for k, m in enumerate(METHODS)}
            for i in range(n)]


def test_the_verdict_is_computed():
    assert summary("base", cells(0.1, 0.2, 0.3, 0.4))["verdict"] == "holds"
    assert summary("base", cells(0.1, 0.2, 0.3, 0.4))["order_share"] == 1.0
    wrong = summary("base", cells(0.4, 0.2, 0.3, 0.35))
    assert wrong["verdict"] == "does not hold" and wrong["order_share"] == 0.0
    assert wrong["contrasts"]["IFT - DPO"][2] == "does not hold"
    assert wrong["contrasts"]["ORPO - IFT"][2] == "holds"
    assert summary("base", cells(0.1, 0.2, 0.15,
                                 0.4))["order_share"] == 0.0, "IFT must beat both ORPO and SFT"
    noisy = cells(0.1, 0.2, 0.3, 0.3)
    for i, c in enumerate(noisy):
        c["sft"] = [0.2 + 0.1 * (-1) ** i] * len(FIELDS)
    assert summary("base", noisy)["verdict"] == "undecided"


def test_a_short_study(short, capsys):
    rows = Lines(short / "C5.jsonl").read()
    data = study(short, 4, 2, 1, NAMES)
    assert Lines(short / "C5.jsonl").read() == rows, "nothing is run again"
    assert len(rows) == 12 and {r["setting"] for r in rows} == set(NAMES)
    for r in rows:
        assert "skipped" in r or all(len(r[m]) == len(FIELDS) for m in METHODS)
        assert "skipped" in r or all(0 <= r[m][FIELDS.index(f)] <= 1 for m in METHODS
                                     for f in ("distance", "success"))
    assert data["verdict"] == read_json(short / "C5.json")["verdict"]
    assert data["verdict"] in capsys.readouterr().out
    text = (short / "C5.md").read_text(encoding="utf-8")
    assert all(f"| {name} |" in text for name in NAMES) and data["verdict"] in text
    found = data["settings"][0]
    base = [r for r in rows if r["setting"] == "short"]
    want = interval([r["ift"][0] - r["dpo"][0] for r in base])
    assert found["contrasts"]["IFT - DPO"][:2] == pytest.approx(list(want)), (
        "computed from the cells, paired by map")
    assert found["distance"]["dpo"] == pytest.approx(interval([r["dpo"][0] for r in base]))


def test_the_study_resumes(short, monkeypatch):
    """A cell is a function of its key: what is missing is run again and comes out the same; what is
    there is kept."""
    file = short / "C5.jsonl"
    whole = run_study(file, 4, 2, 1, NAMES)
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:5]) + '\n{"key": "cut sho')
    calls, honest = [], experiment.run_chunk
    monkeypatch.setattr(experiment, "run_chunk", lambda *a: calls.append(a) or honest(*a))
    assert run_study(file, 4, 2, 1, NAMES) == whole
    assert 0 < len(calls) < 6, "only the chunks that lack a cell"
    assert run_study(file, 4, 2, 1, NAMES) == whole and len(calls) < 6
    assert (key(SETTINGS["short"], 0, 4, 2) != key(SETTINGS["short"], 0, 4, 3)
            != key(SETTINGS["short"], 1, 4, 2))


def test_two_workers_find_the_same(tmp_path):
    """Processes of their own know no patched settings: the base, one map in a chunk of two."""
    one = run_study(tmp_path / "a.jsonl", 2, 2, 1, ["a table"])
    two = run_study(tmp_path / "b.jsonl", 2, 2, 2, ["a table"])
    assert one == two and len(one) == 2


def test_a_broken_line_is_named(short):
    file = short / "C5.jsonl"
    file.write_text("{}\n" + file.read_text())
    with pytest.raises(UserError, match="C5.jsonl, line 1: .*not a whole piece"):
        study(short, 4, 2, 1, NAMES)
