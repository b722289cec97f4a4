"""The comparison: what a cell keeps for the page, what training costs, how cells become rows, what
is run again."""
import json
from dataclasses import replace

import pytest
import torch
from running import be_brief, call, one_error

from lab import cell as the_cell
from lab import compare, cost, runner, snapshot
from lab.cell import Cell
from lab.cells import read_cells, run_cell
from lab.compare import MEASURES, write_figure
from lab.study import Row
from nanouft import world
from nanouft.eval.stats import interval
from nanouft.gpt import GPT, NANO
from nanouft.models.load import start_model
from nanouft.models.save import add_value_head
from nanouft.objectives import OBJECTIVES
from nanouft.run.storage import read_json
from nanouft.sampling import generate

pytestmark = pytest.mark.usefixtures("brief")
SHORT = ("--steps", "30", "--rows", "40", "--batch-size", "8")
SFT = ("--objective", "sft", *SHORT)
DPO = ("--objective", "dpo", "--steps", "3", "--rows", "20", "--batch-size", "4")


def row_of(flags: tuple[str, ...]) -> Row:
    return Row(" ".join(flags))


# ---- snapshots -----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def faces(tmp_path_factory, tiny_base) -> dict[str, dict]:
    """Three real cells with snapshots: the (tiny) base, SFT, and DPO after it."""
    keep, sft = tmp_path_factory.mktemp("kept"), Cell(SFT, 5, str(tiny_base), "val", 1)
    some = {"base": Cell((), 0, str(tiny_base), "val", 1), "sft": sft,
            "chain": Cell(DPO, 5, sft, "val", 1)}
    with pytest.MonkeyPatch.context() as patch:
        be_brief(patch.setattr)
        patch.setattr(snapshot, "PAIRS", 40)
        done = {name: run_cell(replace(c, snapshot=True), keep) for name, c in some.items()}
    return done


def test_looking_changes_no_weight(faces, tiny_base):
    """A snapshot looks at held-out rows while it trains; loss, scores and tokens are those of a
    plain cell."""
    plain = run_cell(Cell(SFT, 5, str(tiny_base), "val", 1), None)
    for key in ("mean", "families", "tokens", "last_loss"):
        assert faces["sft"][key] == plain[key], key


def test_a_snapshot_says_what_the_model_does(faces):
    base, sft = faces["base"]["portrait"], faces["sft"]["portrait"]
    assert base["pairs"] == {"chosen": 0, "rejected": 0} and abs(base["probes"]["kl_own"]) < 1e-6, (
        "it is the base")
    assert sft["pairs"]["chosen"] > 0.1 and sft["probes"]["kl_own"] > 1e-3
    assert len(json.dumps(faces["chain"])) < 2500, (
        "small enough to keep a hundred and fifty of them")


def test_a_run_that_samples_counts_its_own_cost(tiny_base):
    """On-policy, all is paid where it happens: prompts read, answers sampled and scored, steps
    made."""
    flags = ("--objective", "rloo", "--rows", "16", "--batch-size", "4", "--max-new", "12")
    one, two, three = (run_cell(Cell((*flags, "--steps", n), 5, str(tiny_base), "val", 1,
                                     snapshot=True)) for n in "123")
    spent = [c["portrait"]["flops"] for c in (one, two)]
    more = spent[1] - spent[0], three["portrait"]["flops"] - spent[1]
    assert min(more) > 0 and 0.5 < more[1] / more[0] < 2, (
        "steps cost alike, but for the length of answers")
    stages = [row_of(SFT), row_of(flags)]
    price = compare.priced(stages, [one, two])
    assert price.flops == pytest.approx(cost.cost_of([*SFT, "--seed", "0"]).flops + sum(spent) / 2)
    assert compare.priced(stages, []) is None


# ---- costs ---------------------------------------------------------------------------------------
def test_flops_are_those_that_torch_counts():
    """Every matrix product but attention's, forward and backward, against torch's own counter.
    (Attention: torch counts a full square where causal attention reads half, so it is taken out of
    both.)"""
    from torch.utils.flop_counter import FlopCounterMode
    model = GPT(replace(NANO, n_layer=2, n_embd=16, vocab_size=64), seed=0)
    ids = torch.randint(64, (3, 10))
    at = torch.arange(10) > torch.tensor([[2], [5], [7]])
    attention = 3 * 4 * 2 * 16 * (10 * 11 / 2)
    with FlopCounterMode(display=False) as counter, cost.counted() as meter:
        model(ids, want="logp", targets=ids, at=at).sum().backward()
    counts = counter.get_flop_counts()["Global"].items()
    products = sum(n for op, n in counts if "mm" in str(op) and "bmm" not in str(op))
    assert meter.flops - 3 * attention == products
    with cost.counted() as by_number:
        model(ids, want="logp", targets=ids, at=at.flatten().nonzero()[:, 0]).sum().backward()
    assert by_number.flops == meter.flops, ("places by number cost what the same places of a mask "
                                            "cost")
    before = meter.flops
    with torch.no_grad(), cost.counted() as other:
        model(ids, want="hidden")
    assert meter.flops == before, "outside its block nothing is counted"
    assert other.flops == cost.forward_flops(model.cfg, 3, 10, 0), "no head, no backward"
    add_value_head(model, "base")
    with torch.no_grad(), cost.counted() as critic:
        model(ids, want="value")
    assert critic.flops == other.flops, "a value head is one column, not a vocabulary"


def test_samples_are_paid_token_by_token():
    """Decoding with the cache costs what reading the same tokens at once costs, but for the head at
    every step."""
    model, tok = start_model("base")
    prompt = tok.prompt_ids(world.rows("test", "prompts", 9, 0)[0].prompt)
    with cost.counted() as meter:
        generate(model, [prompt], stop=-1, pad=tok.pad, max_new=5)
    read = cost.forward_flops(model.cfg, 1, len(prompt) + 4, 0)  # the fifth token is never read
    heads = meter.flops - read
    one = 2 * model.cfg.n_embd * model.cfg.vocab_size
    assert heads % one == 0 and 5 <= heads / one <= len(prompt) + 4


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_counted_tokens_are_those_that_training_logs(name, tiny_base):
    """The twin makes the steps that train makes. (KTO logs its mismatched answers too; no gradient
    flows into them.)"""
    flags = ("--objective", name, "--rows", "40", "--batch-size", "8", "--steps", "4")
    logged = run_cell(Cell(flags, 3, str(tiny_base), "val", 1))["tokens"]
    counted = cost.cost_of([*flags, "--seed", "3"])
    assert counted.steps == 4
    assert counted.tokens < logged if name == "kto" else counted.tokens == logged


def test_what_is_made_first_is_paid_too():
    """SFTMix wants two short SFT runs: their FLOPs are part of its own, and told apart."""
    made = [cost.cost_of(["--objective", "sft", "--epochs", e, "--seed", "3"]) for e in "12"]
    short, long = (cost.cost_of(["--objective", "sftmix", "--seed", "3", "--steps", n])
                   for n in "24")
    assert short.first == long.first == sum(m.flops for m in made)
    assert short.steps == 2 and short.tokens > sum(m.tokens for m in made)
    assert long.flops - long.first > short.flops - short.first > 0


def test_relative_costs():
    """IFT's extra forward without gradient is a third of a forward and backward; DFT is SFT with
    other weights; twice the steps cost twice; a chain costs its stages."""
    few = ("--rows", "160")
    sft = cost.cost_of(["--objective", "sft", *few])
    assert cost.cost_of(["--objective", "ift",
                         *few]).flops / sft.flops == pytest.approx(4 / 3, abs=0.001)
    assert cost.cost_of(["--objective", "dft", *few]) == sft
    assert cost.cost_of(["--objective", "sft", "--epochs", "6",
                         *few]).flops / sft.flops == pytest.approx(2, abs=0.05)
    chain = [row_of(("--objective", name, *few)) for name in ("sft", "dpo")]
    dpo = cost.cost_of(["--objective", "dpo", *few])
    assert compare.priced(chain, []).flops == sft.flops + dpo.flops


# ---- rows ----------------------------------------------------------------------------------------
def test_every_offline_objective_every_chain_and_the_control_are_rows():
    rows = compare.all_rows()
    assert {"sft->dpo", "sft->kto", "sft->una", "poft->dpo", compare.TWICE} <= rows.keys()
    for name, o in OBJECTIVES.items():
        assert ((f"sft->{name}" if o.on_policy else name) in rows) == (name not in compare.SAME)


def test_a_changed_row_invalidates_its_own_cells_and_what_starts_from_them(monkeypatch):
    def cells(sft: tuple[str, ...]) -> dict[str, Cell]:
        rows = {"sft": row_of(sft), "dpo": row_of(DPO),
                "sft->dpo": replace(row_of(DPO), after="sft")}
        monkeypatch.setattr(compare, "all_rows", lambda: rows)
        return {name: some[0] for name, some in compare.cells_of(compare.Compare(items=10)).items()}
    before, after = cells(SFT), cells((*SFT, "--lr", "1e-4"))
    assert {n for n in before if before[n].key != after[n].key} == {"sft", "sft->dpo"}
    plain = replace(before["sft"], snapshot=False)
    assert plain.key != before["sft"].key and plain.model_key == before["sft"].model_key
    assert Cell(SFT).key == "fbce1285511f0fb7" or the_cell.CELL_VERSION != 1, (
        "keys of finished cells must not move")


def test_mistakes_are_one_line(capsys):
    for argv, words in ((("--objectives", "stf"), "did you mean sft"),
                        (("--seeds", "0"), "--seeds 0: must be")):
        one_error(call(compare.main, *argv), capsys.readouterr().err, words)


# ---- the command ---------------------------------------------------------------------------------
def test_results_and_table_are_computed_from_the_cells(tmp_path, monkeypatch, tiny_base, capsys):
    """A real, tiny comparison of two rows over two seeds, in this process (test_cells.py has
    workers)."""
    monkeypatch.setattr(runner, "finished_jobs",
                        lambda work, jobs, workers: (work(*job) for job in jobs))
    monkeypatch.setattr(snapshot, "PAIRS", 40)
    monkeypatch.setattr(compare, "all_rows", lambda: {"sft": row_of(SFT), "dpo": row_of(DPO)})
    assert call(compare.main, "--seeds", "2", "--items", "1", "--init", tiny_base, "--out",
                tmp_path) == 0
    rows = read_json(tmp_path / "results.json")["rows"]
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    cells = read_cells(tmp_path / "cells.jsonl").values()
    assert len(cells) == 5 and list(rows) == ["base", "sft", "dpo"]
    for name in ("sft", "dpo"):
        mine = [c for c in cells if c["flags"].startswith(f"--objective {name}")]
        figures = rows[name]["figures"]
        assert figures.keys() == MEASURES.keys() and list(rows[name]["scores"]) == ["0", "1"]
        assert figures["score"] == list(interval([c["mean"] for c in mine]))
        far = [c["portrait"]["probes"]["kl_own"] for c in mine]
        assert figures["kl_own"] == list(interval(far))
        assert f"| {write_figure(figures['kl_own'], (1, 3))} |" in text
        assert f"| {rows[name]['cost']['tokens']:,} |" in text


def test_a_row_that_diverged_is_counted_and_not_averaged(faces):
    good, bad = faces["sft"], {"seed": 6, "failed": "loss is nan at step 3", "flags": ""}
    rows = {"sft": row_of(SFT), "dpo": row_of(DPO)}
    found = compare.summarise(rows, {"sft": [good, bad], "dpo": [bad]})
    row, gone = found["sft"], found["dpo"]
    assert list(row["scores"]) == [5] and row["failed"] == {6: bad["failed"]}
    assert row["figures"]["score"] == [good["mean"], None] and gone["figures"]["score"] is None
    assert compare.table({"seeds": 2, "items": 1,
                          "rows": found})[-2].startswith("| sft (1 seeds diverged) |")
    assert write_figure(None, compare.PERCENT) == "–"
    assert write_figure([-0.0001, None], compare.NATS) == "0.00"
