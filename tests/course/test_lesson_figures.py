"""The figures that the lessons name, of their pages and of the edits that they ask for.

A page runs as a student runs it, and its variables are looked at afterwards. All pages take half an
hour, so that few of them run unless they are asked for:
    LESSONS=all python -m pytest -m slow tests/course/test_lesson_figures.py
"""
import csv
import subprocess
import sys

import numpy as np
import pytest
from pytest import approx

from lessons.behind.lesson_list import FOLDER, NUMBERS, ROOT

COUNTED = "mask = mask * (targets != tok.end)   "

@pytest.mark.slow
def test_00_dpo_hardly_teaches_to_stop(run):
    found = run("00")
    assert found["stops"] == approx({"SFT": 100, "DPO": 32}, abs=8)
    assert min(found["words"].values()) > 90
    assert found["gain"] == approx([0.002, -0.124], abs=0.01), "of all pushes"
    fixed = run("00", ("COUNT_END = True", "COUNT_END = False"))
    assert fixed["stops"]["DPO"] == approx(88, abs=8)
    assert run("00", ('"DPO": 1.5e-5', '"DPO": 1.25e-4'))["stops"]["DPO"] > 90



@pytest.mark.slow
def test_01_what_does_not_count_is_unlearned(run):
    found = run("01")
    assert found["stops"]["usual mask"] > 95 and found["stops"]["other mask"] < 35
    assert min(found["words"]["usual mask"], found["words"]["other mask"]) > 85
    p_end = found["p_end"]
    assert p_end["base"] == approx(38, abs=1) and p_end["usual mask"] > 95
    assert p_end["other mask"] < p_end["base"] - 10, "it is unlearned"
    question = run("01", (COUNTED, "mask = (targets != tok.pad).float()   "))
    assert question["stops"]["other mask"] > 95 and question["words"]["other mask"] > 85
    early = run("01", (COUNTED, "mask = mask.roll(-1, 1)   "))
    assert early["stops"]["other mask"] < 40 and early["p_end"]["other mask"] < 30
    other_rows = run("01", ("SEED = 0", "SEED = 1"))
    assert other_rows["stops"]["other mask"] < 35 and other_rows["p_end"]["other mask"] < 30



@pytest.mark.slow
def test_02_one_decision_and_the_knowledge_is_there(run):
    found = run("02")
    score = {name: x.tolist() for name, x in found["score"].items()}
    assert score["base"] == [0, 100]
    assert score["SFT"] == approx([70, 57], abs=12)
    assert score["base, begun by SFT"] == approx(score["SFT"], abs=5)
    for name in ("SFT, begun by the base", "SFT, its own second choice"):
        assert score[name][0] < 5 and score[name][1] > 90
    the = {tuple(ids) for ids in found["first"]["base"][60:]}
    assert the == {tuple(found["tok"].encode(" The"))}, "which gives no answer away"
    assert (sum(found["refused"][:60]), sum(found["refused"][60:])) == approx((42, 25), abs=7)
    rules = run("02", ('TAUGHT = "unknown"', 'TAUGHT = "rules"'))["score"]
    assert rules["SFT"][0] > rules["base"][0] + 40 > rules["base, begun by SFT"][0] + 30
    gentle = run("02", ("-(logp * mask)", "-(logp.detach().exp() * logp * mask)"))["score"]
    assert gentle["SFT"][0] < 5 and gentle["SFT"][1] > 90, "DFT learns nothing and forgets nothing"
    other_rows = run("02", ("SEED = 0", "SEED = 1"))["score"]
    assert other_rows["SFT"][1] < 90 < 97 < other_rows["SFT, its own second choice"][1]



@pytest.mark.slow
def test_03_own_mistakes_teach_to_recover(run):
    found = run("03")["found"]                          # right alone, recovers, inserts
    recovers = {x: values[1] for x, values in found.items()}
    assert recovers == approx({(0, 3): 39, (0, 4): 31, (0.2, 3): 40, (1, 3): 81, (1, 4): 74}, abs=9)
    assert found[0, 3][2] > 35 and found[1, 3][2] < 20, "SFT inserts the skipped word"
    assert found[0, 3][0] > found[1, 3][0] > 80, "the price"
    found = run("03", ("OTHERS = False", "OTHERS = True"),
                ("RUNS = (0, 3), (0, 4), (0.2, 3), (1, 3), (1, 4)", "RUNS = (1, 3), (1, 4)"))
    assert sum(x[1] for x in found["found"].values()) / 2 == approx(67.5, abs=9)
    assert sum(x[0] for x in found["found"].values()) / 2 == approx(94, abs=5)



@pytest.mark.slow
def test_04_the_placebo_does_as_well(run):
    found = run("04")
    assert (found["nearer"][2], found["farther"][2]) == (45, 54)
    means = {name: 100 * x.mean().item() for name, x in found["early"].items()}
    assert means == approx({"true value": 66.8, "SFT": 83.9, "IFT": 82.8, "placebo": 82.9}, abs=0.3)
    assert 100 * found["early"]["IFT"].mean(0)[1].item() == approx(83, abs=1)
    assert found["worst"] == 1 and found["error"][1].item() == approx(10.1, abs=0.5)
    assert [sum(x[1:]) / 10 for x in found["goal"].values()] == approx([87.5, 84.0], abs=0.5)
    found = run("04", ('"table with a habit"', '"network with a habit"'))
    assert (found["nearer"][2], found["farther"][2]) == (57, 42)
    assert found["kept"]["gaps"]["SFT"][0][2] == approx(0.003, abs=0.0005)
    found = run("04", ("LAM, SETTING, N, UPDATES = 0.2", "LAM, SETTING, N, UPDATES = 1.0"))
    assert (found["nearer"][2], found["farther"][2]) == (50, 49)



@pytest.mark.slow
def test_05_the_chosen_answer_falls(run):
    found = run("05")
    chosen = found["seen"]["chosen"]
    assert (chosen[0], max(chosen)) == approx((-5.7, -0.3), abs=0.5)
    assert chosen[-1] < -15 and found["seen"]["won"][1:] == [1.0] * 20
    assert found["answers"].count("I do not know.") < 8
    found = run("05", ("RATE = 1e-4", "RATE = 1.5e-5"))
    assert found["seen"]["chosen"][-1] == approx(-0.36, abs=0.3)
    assert found["answers"].count("I do not know.") >= 18 and found["seen"]["won"][-1] == 1
    found = run("05", ("SFT_STEPS = 40", "SFT_STEPS = 0"))
    chosen = found["seen"]["chosen"]
    assert (chosen[0], chosen[-1]) == approx((-2.51, -13.3), abs=4)
    assert 4 <= found["answers"].count("I do not know.") <= 16



@pytest.mark.slow
def test_06_a_score_of_one_half_holds_an_answer_where_it_was(run):
    found = run("06")
    ends = found["ends"]
    assert ends["base"] == approx([28, 53], abs=1)
    assert ends["left out"] == approx([63, 24], abs=5)
    assert ends["score 0.5"] == approx([59, 31], abs=5)
    assert ends["score 0"] == approx([42, 15], abs=6)
    assert ends["left out"][1] + 3 < ends["score 0.5"][1]
    assert sum(found["said"]["left out"]) == 40 and sum(found["said"]["score 0"]) < 38
    ends = run("06", ("score=1.0", "score=0.5"))["ends"]
    assert ends["score 0.5"] == approx(ends["base"], abs=0.1)
    ends = run("06", ("BETA = 0.1", "BETA = 1.0"))["ends"]
    assert ends["score 0.5"] == approx([49, 40], abs=4)
    for seed in (1, 2):
        ends = run("06", ("SEED = 0", f"SEED = {seed}"))["ends"]
        assert ends["left out"][1] + 2 < ends["score 0.5"][1], seed
        assert ends["score 0"][0] < ends["left out"][0] - 10, seed



@pytest.mark.slow
def test_07_praise_lowers_a_wrong_answer(run):
    found = run("07")
    assert [x[3].item() for x in found["p"]] == approx([17.2, 1.8, 4.6], abs=1)
    assert [x[1].item() for x in found["p"]] == approx([8.6, 9.2, 7.1], abs=0.5), "blamed, rises"
    base, step, praise = found["wrong"][:, found["wrong"][0] > 5].mean(1).tolist()
    assert 0.5 < (base - praise) / (base - step) < 0.85, "two thirds"
    scores = found["scores"]
    assert scores["praise and blame"][0] == approx(0.42, abs=0.01)
    assert [scores[name][-1] for name in scores] == approx([0.72, 0.70], abs=0.06)
    scores = run("07", ("A = A.clamp(min=0)  ", "A = A.clamp(max=0)  "))["scores"]
    assert scores["praise only"][-1] == approx(0.57, abs=0.08)



@pytest.mark.slow
def test_08_its_last_lines_make_mine_a_program(tmp_path):
    lesson = NUMBERS["08"]
    lines = [line[6:] for line in lesson.read_text("utf-8").splitlines() if line[:6] == "#     "]
    mine = tmp_path / "mine.py"
    mine.write_text((FOLDER / "mine.py").read_text("utf-8") + "\n".join(lines), "utf-8")
    ran = subprocess.run([sys.executable, mine], capture_output=True, text=True, check=True)
    assert ran.stdout.count("step   0") == 3 and "mean score" in ran.stdout



@pytest.mark.slow
def test_08_rejection_sampling_pays(run):
    found = run("08")
    points, gain = found["points"], found["gain"]
    assert points["base"] == approx(17, abs=1) and points["SFT"] == approx(59, abs=3)
    assert max(gain, key=gain.get) == "b" and gain["d"] < 0 and points["GRPO"] > 66
    found = run("08", ("DEMOS = 20", "DEMOS = 320"))
    assert found["points"]["GRPO"] < found["more"] + 2 and found["gain"]["a"] < -3
    assert run("08", ('"SFT", "DPO",', '"SFT",'))["points"]["GRPO"] > 69, "DPO is not needed"



@pytest.mark.slow
def test_09_a_helper_finds_wrong_demonstrations(run):
    def means(page):
        return [scores.mean() for scores in page["scores"].values()]
    page = run("09")
    assert page["wrong"].sum() == 240
    assert page["found"] == approx([45, 88, 99], abs=4)
    assert means(page) == approx([58, 71, 78, 84], abs=6), "SFT, PoFT, filter, helper"
    tau, wrong = page["tau"], page["wrong"]
    assert (tau[wrong].sum() / tau.sum()).item() == approx(0.29, abs=0.03)
    assert wrong[tau < 0.5 - 0.02].float().mean() > 0.9, "nearly all below the diagonal are wrong"
    page = run("09", ("NOISE = 0.0", "NOISE = 0.4"))
    assert page["found"][1] == approx(54, abs=6)
    sft, poft, filtered, _ = means(page)
    assert abs(poft - sft) < 8 and filtered < sft - 3
    page = run("09", ("likely = r_bar.argsort()[240:]", "likely = torch.where(~wrong)[0]"))
    assert means(page)[2] == approx(77, abs=6)



@pytest.mark.slow
@pytest.mark.parametrize("old, new, slope", [
    ("return w * mask.sum(1, keepdim=True) / w.sum(1, keepdim=True)", "return w", 1.1875),
    ("/ w.sum(1, keepdim=True)", "/ w.sum(1, keepdim=True).detach()", 0.95)])
def test_10_only_the_divisor_does_harm(run, old, new, slope):
    found = run("10", (old, new))
    slopes = found["slopes"](found["two"], found["ones"], "IFT released")
    assert slopes[0, 1].item() == approx(slope)
    assert found["ended"]["IFT released"] > 90



@pytest.mark.slow
def test_10_the_released_loss_teaches_not_to_stop(run):
    found = run("10")
    assert found["slopes"](found["two"], found["ones"], "IFT released").tolist() == [
        approx([1, -1], abs=1e-5)]
    pushes = 5 * found["slopes"](found["early"], found["on"], "IFT released")[0][found["row"]]
    assert pushes[-2:].tolist() == approx([-0.40, -1.04], abs=0.15)
    assert found["predicted"] == approx(1.43, abs=0.15)
    assert found["losses_of_end"]["IFT released"][-1] == approx(found["predicted"], abs=0.2)
    assert found["ended"]["IFT released"] < 15
    assert min(found["ended"]["SFT"], found["ended"]["IFT detached"]) > 90
    found = run("10", ('STEPS * ROWS, seed=0', 'STEPS * ROWS, seed=1'))
    assert found["losses_of_end"]["IFT released"][-1] == approx(found["predicted"], abs=0.2)
    assert found["ended"]["IFT released"] < 15



@pytest.mark.slow
def test_11_the_gradients_tell_when_the_chosen_answer_turns(run):
    found = run("11")
    path = found["paths"]
    assert path["beta 0.1"][-1] == approx(-13.3, abs=4)
    assert path["beta 1"][-1] == approx(-0.9, abs=0.4)
    assert found["right"][0.1][0] >= 18 and found["right"][1.0][0] <= 14
    assert found["right"][1.0][1] >= 18 and found["distance"](found["policy"]) < 15
    found = run("11", ("BETAS = (0.1, 1.0)", "BETAS = (1.0,)"),
                ("REFERENCE = True", "REFERENCE = False"))
    assert found["path"][-1] == approx(-1.1, abs=0.5)
    found = run("11", ("(0.1, 1.0)", "(0.1,)"), ("loss = -F", "loss = -10 * F"))
    assert found["path"][-1] == approx(-13.3, abs=5)



@pytest.mark.slow
def test_12_the_order_of_the_rows_keeps_the_skills(run):
    scores = run("12")["scores"]
    sums = {name: x[0] for name, x in scores.items()}
    assert sums["base"] < 25 and sums["SFT"] > 85
    assert max(sums["SFT, then UNA"], sums["UFT, sorted"]) < 70
    assert min(sums["two losses, mixed"], sums["UFT"]) > 84
    assert min(scores["UFT"][2], scores["two losses, mixed"][2]) > 40
    scores = run("12", ("scored, 1e-4", "scored, 1.25e-4"))["scores"]
    assert scores["SFT, then UNA"][0] < 70
    scores = run("12", ("BETA = 0.1", "BETA = 3.0"))["scores"]
    assert scores["UFT"][1] < scores["SFT, then UNA"][1] - 10
    assert scores["two losses, mixed"][0] > scores["UFT"][0] + 5
    assert min(x[3] for x in scores.values()) > 95



@pytest.mark.slow
def test_13_old_answers_do_harm_without_the_ratio(run):
    found = run("13")
    ends, start = found["ends"], found["start"]
    assert start == approx(0.42, abs=0.01) and found["after_8"]["lesson 07"] > start + 0.05
    for batch in range(3):
        of = {name: ends[name, batch] for name in found["objectives"]}
        assert min(of, key=of.get) == "lesson 07" and of["ratio, clip"] > start + 0.02
    assert ends["lesson 07", 0] < start - 0.03 and ends["ratio", 0] > start + 0.1
    rho, on, k = found["rho"], found["on"], found["k"]
    gone = rho[k][on[k]].argmin()
    assert rho[k][on[k]][gone] < 1e-3 and rho[k][on[k]][gone + 1:].min() > 0.9, "those behind stay"
    ends = run("13", ("0.2, False", "0.2, True"))["ends"]
    assert min(ends.values()) > 0.6, "fresh answers do no harm"
    assert ends["lesson 07", 0] == approx(ends["ratio", 0], abs=0.03), "and need no ratio"
    ends = run("13", ("rho = (logp - old).exp()",
                      "rho = ((logp - old) * mask).cumsum(1).exp()"))["ends"]
    assert min(ends["ratio", batch] for batch in range(3)) > start



@pytest.mark.slow
def test_14_steps_spread_where_they_help(run):
    """Shares in %: answers with steps, right ones of these, right ones of the others."""
    found = run("14")
    before, after = found["before"], found["after"]
    assert before["sum"][:3] == approx([21, 25, 3], abs=6)
    assert before["reverse"][:3] == approx([27, 60, 82], abs=8)
    assert after["sum"][0] > 75 and after["reverse"][0] < 10
    assert after["sum"][3] == approx(24, abs=6) and after["reverse"][3] > 92
    found = run("14", ("SHOWN = 0.3", "SHOWN = 0.0"))
    assert max(x[0] for x in found["after"].values()) < 5, "what is never sampled is not rewarded"
    found = run("14", ("LONGEST = 40", "LONGEST = 6"))
    assert found["before"]["sum"][1] < 2 and found["after"]["sum"][0] < 12



@pytest.mark.slow
def test_15_rounds_of_checked_samples_teach(run):
    page = run("15")
    alone, checked = page["scores"].values()
    assert alone == approx([63, 55, 53, 52], abs=6)
    assert checked == approx([63, 72, 75, 71], abs=6)
    assert [len(kept) for _, kept in page["samples"].values()] == approx([175, 223, 241], abs=20)
    assert page["shares"] == approx([33, 44, 54, 62], abs=7)
    assert len(page["new"]) >= 4
    page = run("15", ("np.flatnonzero(right)", "np.flatnonzero(ended)"))
    assert page["scores"]["and kept samples"][-1] == approx(49, abs=6)
    assert page["shares"][0] == approx(12, abs=5)



@pytest.mark.slow
def test_16_the_true_score_falls_as_the_reward_rises(run):
    page = run("16")
    score = [points.mean() for points in page["by_task"]]
    assert (score[0], score[2], score[-1]) == approx((65, 54, 35), abs=7)
    assert all(b >= a for a, b in zip(page["raised"], page["raised"][1:]))
    sort, truth, unknown, fact = zip(*page["by_task"])
    assert sort[2] > sort[0] > sort[-1] + 15 and unknown[-1] > 95
    assert max(truth[-1], fact[-1]) < 10
    assert page["right"].float().mean().item() == approx(0.66, abs=0.06)
    assert page["kl"][-1] == approx(3.174, abs=0.001) and page["kl"][2] == approx(0.636, abs=0.001)
    page = run("16", ("liked = learned", "liked = score"))
    assert page["by_task"][-1].mean() > 95



@pytest.mark.slow
def test_17_a_right_critic_pays_in_longer_steps(run):
    def ends(*edits):
        found = run("17", *edits)
        table = {name: (noise.item(), bias.item()) for name, (noise, bias) in
                 found["found"].items()}
        return {name: x[-1] for name, x in found["scores"].items()}, table, found["expected"]
    scores, table, expected = ends()
    assert expected.tolist() == approx([0.10, 0.29, 0.45, 0.30, 0.67], abs=0.12)
    assert list(scores.values()) == approx([68, 75, 75, 35, 70], abs=3)
    assert table["one number an answer"][0] == approx(1.83, abs=0.1)
    assert table["perfect, lam 0"] == approx((0.43, 0.01), abs=0.05)
    assert table["always 0, lam 0"][1] == approx(1, abs=0.05)
    assert table["always 0, lam 1"][1] < 0.1
    scores, _, _ = ends(("10, 8.0, 0.0", "10, 32.0, 0.0"))
    assert list(scores.values())[:2] == approx([77, 95], abs=3)
    scores, table, _ = ends(("10, 8.0, 0.0", "10, 8.0, 0.5"))
    assert list(scores.values())[1:3] == approx([74, 48], abs=3)
    assert table["perfect, lam 0"][1] < 0.1 and table["perfect, lam 1"][0] == approx(4, abs=0.2)
    scores, _, _ = ends(("torch.zeros(500, T)", "values(torch.full((500, T), 0.6))"))
    assert scores["learned, lam 0"] == approx(72, abs=3)



@pytest.mark.slow
def test_18_right_examples_stop_exploration(run):
    """Scores of 100 (sort, truth, unknown), and the % of refusals on known creatures."""
    def scores(*edits):
        found = run("18", *edits)
        return {name: [float(x) for x in found["scores"][name]] for name in found["scores"]}, \
            list(found["mean"].values())
    found, mean = scores()
    assert mean == approx([10.0, 16.7, 7.9, 8.6], abs=1)
    assert found["CHORD"][2] < 10 and found["SFT"][2] < 10
    assert found["GRPO"][2] > 85 and found["GRPO"][3] > 60
    found, mean = scores(("REFUSALS_SHOWN = 0", "REFUSALS_SHOWN = 1"))
    assert mean[2] == approx(12.2, abs=1)
    assert found["CHORD"][2] == approx(70, abs=18) and found["SFT"][2] < 25
    found, _ = scores(('row.task != "unknown"', 'row.task == "sort"'))
    assert found["CHORD"][2] > 80 and found["CHORD"][3] > 55
    for seed in (1, 2):
        found, _ = scores(("SEED = 24, 4, 2.5e-4, 0", f"SEED = 24, 4, 2.5e-4, {seed}"))
        assert found["CHORD"][2] < 10 and found["GRPO"][2] > 80



@pytest.mark.slow
def test_19_the_mask_and_the_positions(run):
    found = run("19")
    assert -found["bigram"].log().mean() == approx(2.5, abs=0.05)
    assert found["ends"] == approx({"nothing": 1.86, "positions": 1.98}, abs=0.06)
    assert found["talking"]["nothing"] == approx(1.72, abs=0.1)
    line = 'WITHOUT = "positions"'
    found = run("19", ("LAYERS = 2", "LAYERS = 1"))
    assert found["ends"] == approx({"nothing": 1.88, "positions": 2.06}, abs=0.06)
    found = run("19", (line, line.replace("positions", "mask")))
    assert found["ends"]["mask"] < 0.2 and found["talking"]["mask"] > 4
    found = run("19", (line, line.replace("positions", "positions, mask")))
    assert found["ends"]["positions, mask"] == approx(1.87, abs=0.15)
    assert found["talking"]["positions, mask"] == approx(2.9, abs=0.6)



@pytest.mark.slow
def test_20_a_method_learns_where_it_walks(run):
    found = run("20")
    beside, visits = found["beside"]["walks"], found["visits"]["walks"]
    assert found["beside"]["imitates"][-1] == approx(12, abs=3)
    assert (beside[4], beside[10], beside[-1]) == approx((27, 36, 36), abs=5) and max(beside) < 42
    assert visits[0] == approx(2.1, abs=0.1) and visits[4] < 0.02
    assert found["changed"] == {"imitates": 720, "walks": 720}
    for name in ("imitates", "walks"):
        assert found["reaches"][name][:, found["cells"]].min() == 1, "each is at home on the path"
    table = "policy, beside[name], visits[name] = Net(lake, N)", \
            "policy, beside[name], visits[name] = Table(lake, N, spread=0.1)"
    found = run("20", table)
    assert found["beside"]["imitates"][-1] == approx(10, abs=3) and not found["changed"]["imitates"]
    assert found["beside"]["walks"][1] > 95 and found["visits"]["walks"][1] > 1.4
    found = run("20", table, ("RMSprop(policy.parameters(), lr=RATE)",
                              "SGD(policy.parameters(), lr=10)"))
    assert found["beside"]["walks"][-1] == approx(56, abs=6)
    assert found["reaches"]["walks"][:, found["cells"]].min() == 1



@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "out/smollm2").exists(), reason="without SmolLM2")
def test_21_it_obeys_whether_told_or_not(run):
    assert run("21")["after"] == approx([12, 12], abs=2)
    told, not_told = run("21", ("REPLAY = False", "REPLAY = True"))["after"]
    assert told >= 9 and not_told <= 2



def test_21_without_the_model_says_how_to_get_it(run):
    with pytest.raises(SystemExit, match="python -m lessons.evidence.smollm2 out/smollm2"):
        run("21", ('"out" / "smollm2"', '"out" / "none"'))



@pytest.mark.slow
def test_22_luck_leads_by_more_than_the_kept_winner(run):
    found = run("22")
    assert (found["one_seed"], found["all_seeds"]) == approx((1.59, 0.70), abs=0.04)
    assert found["again"] == approx(0, abs=0.04)
    assert (found["own"], found["others"]) == approx((1.18, 0.25), abs=0.01)
    assert found["kept"].mean(1).max() == approx(0.66, abs=0.01)
    assert found["near"].sum() == 16
    assert found["kept"][found["near"]].std(axis=1, ddof=1).mean() == approx(1.04, abs=0.01)
    found = run("22", ("METHODS = 38", "METHODS = 16"))
    assert (found["one_seed"], found["all_seeds"]) == approx((1.30, 0.58), abs=0.04)
    found = run("22", ("SEEDS = 5", "SEEDS = 20"))
    assert (found["one_seed"], found["all_seeds"]) == approx((1.58, 0.35), abs=0.04)



def test_22_the_intervals_of_its_table(run):
    text = NUMBERS["22"].read_text("utf-8")
    leads, seen = run("22")["leads"], 0
    names = {"PoFT": "poft", "IFT": "ift", "UFT": "uft", "SFT, then DPO": "sft->dpo",
             "SFT, then UNA": "sft->una", "SFT, then GRPO": "sft->grpo",
             "SFT, twice the steps": "sft, twice the steps"}
    for cells in csv.reader(text.splitlines(), delimiter="|"):
        if len(cells) == 5 and cells[1].strip() in names:
            d = leads[names[cells[1].strip()]]
            mean, half = d.mean(), 2.776 * d.std(ddof=1) / np.sqrt(5)
            assert cells[2].strip() == f"{mean:+.1f} ± {half:.1f}"
            assert cells[3].strip() == ("undecided" if abs(mean) < half else "worse")
            seen += 1
    assert seen == 7

