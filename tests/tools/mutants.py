"""Mutants: small faults, planted one at a time, each of which a named test must notice.

    python tests/tools/mutants.py                     # all of them in copies of the project: about 6 minutes
    python tests/tools/mutants.py --only 3 17         # these numbers; --workers 2: two at a time

A suite that passes says little until one knows what it would not have noticed. Prints killed or SURVIVES for each; exit
status 1 if one survives. Listed is what the random edits of mutate.py cannot make: a fault that makes a result wrong
and that no test saw belongs into this list, and its test into the suite. tests/test_mutants.py checks in a moment that
the list still fits the code.
"""
import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("nanouft", "frozen_lake", "lab", "lessons", "examples", "tests", "docs", "pyproject.toml", "README.md",
          "CONTRIBUTING.md", "constraints.txt")
ROLLOUTS, OBJECTIVES, PAIRS = (f"core/test_{name}.py" for name in ("rollouts", "objectives", "pairs"))
BATCHES, OPTIMIZER, EVALUATE = (f"core/test_{name}.py" for name in ("batches", "train", "evaluate"))
GENERATE, REWARD, IFT, GPT = (f"core/test_{name}.py" for name in ("generate", "reward", "ift", "gpt"))

# (where, file, what stands there once, what is planted, the test that must fail); .py and the folders are left out
MUTANTS = [
    # ---- what a reviewer planted and no test saw ---------------------------------------------------------------------
    ("rollout/rollouts", "temperature=1.0", "temperature=0.9", f"{ROLLOUTS}::test_samples_come_from_the_policy_itself"),
    ("rollout/rollouts", "[*a.ids, a.stop] if a.ended", "a.ids if a.ended",
     f"{ROLLOUTS}::test_the_mark_of_the_end_is_an_answer_token_like_any_other"),
    ("rollout/rollouts", "rollout_seed(self.cfg.seed, number, ", "rollout_seed(self.cfg.seed, 0, ",
     f"{ROLLOUTS}::test_a_rollout_is_a_function_of_its_number_and_the_weights"),
    ("rollout/rollouts", "number, i // CHUNK)", "number, 0)",
     f"{ROLLOUTS}::test_a_rollout_is_a_function_of_its_number_and_the_weights"),
    ("rollout/rollouts", "minibatch_seed(self.cfg.seed, number, turn)", "minibatch_seed(self.cfg.seed, number, 0)",
     f"{ROLLOUTS}::test_each_pass_over_a_rollout_has_an_order_of_its_own"),
    ("rollout/rollouts", "float(stops(a, self.tok)) for a in answers", "float(a.ended) for a in answers",
     f"{ROLLOUTS}::test_who_runs_on_has_not_stopped"),
    ("rollout/rollouts", "k3(ref - old)", "k3(old - ref)",
     f"{ROLLOUTS}::test_what_a_rollout_reports"),
    ("objectives/ppo", '= model(hidden=hidden, want="value")', '= model(hidden=hidden.detach(), want="value")',
     f"{ROLLOUTS}::test_what_the_critic_must_learn_reaches_the_shared_states"),
    ("objectives/ppo", "value_loss(s, hp.eps_value)", "value_loss(s, hp.eps)", f"{ROLLOUTS}::test_ppo_by_hand"),
    ("train", '"rate": VALUE_RATE', '"rate": 1', f"{OPTIMIZER}::test_a_new_value_head_learns_at_thirty_times_the_rate"),
    ("objectives/grpo", "batch.col.adv[:, None], hp.eps, high)", "batch.col.adv[:, None], hp.eps, hp.eps)",
     f"{ROLLOUTS}::test_each_side_of_the_clip_is_its_own"),
    ("objectives/grpo", "step_metrics(batch, hp.eps, high)", "step_metrics(batch, hp.eps, hp.eps)",
     f"{ROLLOUTS}::test_each_side_of_the_clip_is_its_own"),
    ("objectives/reinforce", "return torch.exp(x) - x - 1", "return torch.exp(x) - x.clamp_max(19) - 1",
     f"{ROLLOUTS}::test_no_slope_of_k3_has_the_wrong_sign"),
    ("objectives/reinforce", "x = x.clamp_max(20) ", "x = x.clamp_max(30) ",
     f"{ROLLOUTS}::test_no_slope_of_k3_has_the_wrong_sign"),
    ("objectives/reinforce", "rho.clamp(1 - low, 1 + high)", "rho.clamp(1 - high, 1 + low)",
     f"{ROLLOUTS}::test_each_side_of_the_clip_is_its_own"),
    ("objectives/reinforce", "R - R.mean() if", "R - batch.col.reward.mean() if",
     f"{ROLLOUTS}::test_baselines_and_spread_are_of_rewards_after_the_leash"),
    ("objectives/reinforce", "k3(moved)", "k3(-moved)",
     f"{ROLLOUTS}::test_how_far_a_step_has_moved"),
    ("objectives/rloo", "(adv.std() + 1e-4)", "(adv.abs().mean() + 1e-4)",
     f"{ROLLOUTS}::test_baselines_and_spread_are_of_rewards_after_the_leash"),
    ("world/__init__", "p=(1 + score(prompt, better) - score(prompt, worse)) / 2", "p=1 - score(prompt, worse) / 3",
     "core/test_world.py::test_rows_hold_what_their_kind_promises"),
    ("world/skills", "(len(set(items)) == len(items))", "(len(set(words)) == len(words))",
     "core/test_world.py::test_hand_made_scores"),
    ("rollout/scorer", "[0][-model.gpt.cfg.n_ctx:]", "[0][:model.gpt.cfg.n_ctx]",
     f"{REWARD}::test_the_scorer_prefers_what_was_chosen_and_reads_each_text_once"),
    ("rollout/reward_quality", "0.5 + 0.5 * np.sign(margin)", "(margin > 0) * 1.0",
     f"{REWARD}::test_the_figures_by_hand"),
    ("reward", "0.5 + 0.5 * margin.detach().sign()", "(margin.detach() > 0).float()",
     f"{REWARD}::test_the_figures_by_hand"),
    ("objectives/dpo", '(batch.tokens["chosen"] + batch.tokens["rejected"])', '(2 * batch.tokens["chosen"])',
     f"{PAIRS}::test_the_kl_of_pairs_is_per_token_and_a_tie_is_a_thousandth_of_a_nat"),
    ("objectives/online_una", "ref = s.old if", "ref = s.logp.detach() if",
     f"{ROLLOUTS}::test_online_una_against_the_rollout_starts_at_a_half"),
    ("objectives/rpo", "max(1, int(t.mask.argmax()))", "int(t.mask.argmax())",
     f"{PAIRS}::test_a_pair_without_a_prompt_gives_rpo_a_number"),
    ("objectives/una", '(good * logp).sum() / n_good', '(good * logp).sum() / batch.rows',
     "core/test_una_uft.py::test_k_is_clamped_after_the_mean"),
    ("objectives/rpo", "W.diagonal().sum()", "W.sum()", f"{PAIRS}::test_each_methods_own_figures_by_hand"),
    # ---- tokens, masks, shifts, cuts ---------------------------------------------------------------------------------
    ("data/batches", "any(talk[:n + 1] != talks[0][:n + 1] for talk in talks)", "False",
     f"{BATCHES}::test_a_cut_row_keeps_one_prompt_for_all_its_roles"),
    ("data/batches", "targets=stack([s.ids[1:]", "targets=stack([s.ids[:-1]",
     f"{BATCHES}::test_a_conversation_to_the_token"),
    ("data/batches", "mask=stack([s.mask[1:]", "mask=stack([s.mask[:-1]",
     f"{BATCHES}::test_a_conversation_to_the_token"),
    ("data/batches", "np.ones(len(s.ids) - 1)", "s.mask[1:]", f"{BATCHES}::test_collate_pads_on_the_right"),
    ("data/tokenizer", 'role == "assistant" and train', "answer and train",
     "core/test_tokenizer.py::test_what_a_tool_says_and_what_is_only_shown_is_read_and_not_trained_on"),
    ("data/rows", "taken + groups[key] <= aim", "taken + groups[key] <= aim + 1",
     "core/test_data.py::test_holdout_sizes"),
    ("data/rows", "if key not in held], [", "], [",
     "core/test_data.py::test_holdout_keeps_prompts_together_in_any_order"),
    ("objective", "T = int(self.attend[rows].sum(-1).max())", "T = int(self.mask[rows].sum(-1).max())",
     f"{ROLLOUTS}::test_the_ratio_is_one_before_the_first_update"),
    ("objective", "self.sum(x) / self.mask.sum(-1).clamp_min(1)", "self.sum(x) / self.mask.shape[-1]",
     f"{OBJECTIVES}::test_sum_and_mean_of_a_role"),
    ("objective", "step_col=step_col)", "step_col=None)", f"{OBJECTIVES}::test_micro_batches_add_up"),
    ("reference", "out[i][role] = logp[:len", "out[i][role] = logp[1:len",
     f"{EVALUATE}::test_held_out_loss_is_a_mean_over_tokens"),
    # ---- the model and sampling --------------------------------------------------------------------------------------
    ("gpt", "is_causal=mask is None", "is_causal=False", f"{GPT}::test_nothing_looks_ahead"),
    ("gpt", "(q / math.sqrt(C // self.nh)) @ k.mT", "(q / math.sqrt(C)) @ k.mT",
     f"{GENERATE}::test_the_cache_changes_nothing"),
    ("gpt", "x = x + self.wpe(pos)", "x = x + 0 * self.wpe(pos)", f"{GPT}::test_positions_matter"),
    ("models/generate", "logits.float().log_softmax(-1).gather(1, token", "(logits / (temperature or 1)).float()"
     ".log_softmax(-1).gather(1, token", f"{GENERATE}::test_log_probs_of_decoding_are_those_of_scoring"),
    ("models/generate", "u = 1 - torch.rand(B", "u = torch.rand(B",
     f"{GENERATE}::test_no_random_number_draws_what_has_no_chance"),
    ("models/generate", "generator=rng)[rows]", "generator=rng)[:len(rows)]",
     f"{GENERATE}::test_an_answer_that_ends_changes_no_other"),
    ("models/generate", "lp, stop, forced) for row, lp, forced in zip(said.tolist(), logp.tolist(), priors)",
     "lp, stop, forced) for row, lp, forced in zip(said.tolist(), logp.tolist(), priors[::-1])",
     "core/test_supervised.py::test_each_answer_begins_as_it_is_told_and_goes_on_by_itself"),
    ("models/generate", "a.ended and tok.user not in a.ids", "a.ended",
     f"{EVALUATE}::test_stopping_is_saying_end_and_nothing_else"),
    # ---- the loop ----------------------------------------------------------------------------------------------------
    ("training/schedule", "cosine(step - up, max(1, steps - up))", "cosine(step, steps)",
     "core/test_laws_of_rows.py::test_the_schedule_of_train"),
    ("train", "p.dim() < 2], \"weight_decay\": 0.0", "p.dim() < 2], \"weight_decay\": cfg.weight_decay",
     f"{OPTIMIZER}::test_matrices_decay_and_nothing_else"),
    ("train", "betas=(0.9, 0.95)", "betas=(0.9, 0.999)",
     f"{OPTIMIZER}::test_the_optimizer_is_the_one_that_was_asked_for"),
    # ---- losses ------------------------------------------------------------------------------------------------------
    ("objectives/sft", '.sum() / batch.tokens["answer"]\n    sequence', ".sum() / batch.rows\n    sequence",
     f"{OBJECTIVES}::test_sft_reductions"),
    ("objectives/ift", "mask[:, :-1] == 1, argmax[:, :-1]", "mask[:, :-1] == 1, argmax[:, 1:]",
     f"{IFT}::test_the_guess_is_shifted_by_one_once"),
    ("objectives/ift", "(1 - lam) * embeds + lam * own", "lam * embeds + (1 - lam) * own",
     f"{IFT}::test_the_blend_is_made_of_embeddings"),
    ("objectives/ift", "(n - rank).clamp_min(0)", "(rank - 1).clamp_min(0)", f"{IFT}::test_every_form_by_hand"),
    ("objectives/dpo", "log_ratio(chosen) - log_ratio(rejected)", "log_ratio(rejected) - log_ratio(chosen)",
     f"{OBJECTIVES}::test_dpo_gradient"),
    ("objectives/kto", ".mean().clamp_min(0).detach()", ".clamp_min(0).mean().detach()",
     "core/test_una_uft.py::test_k_is_clamped_after_the_mean"),
    ("objectives/kto", "-hp.beta * (k - r)", "-hp.beta * (r - k)", "core/test_una_uft.py::test_gradient"),
    ("objectives/una", "-score * F.logsigmoid(i) - (1 - score)", "-score * F.logsigmoid(i) - score",
     "core/test_una_uft.py::test_slopes_in_closed_form"),
    ("objectives/uft", "others = graded_rows(data, hp)", "others = graded_rows(data, hp)[::2]",
     "core/test_una_uft.py::test_uft_merges_by_counts"),
    ("objectives/sftmix", "lam[..., None] * h + (1", "(1 - lam[..., None]) * h + (1",
     "core/test_supervised.py::test_two_look_ups_are_the_cross_entropy_of_the_mixed_label"),
    ("objectives/ppo", "gamma * following - V[:, t]", "gamma * V[:, t] - V[:, t]",
     "core/test_parity.py::test_every_case_of_our_objectives_agrees"),
    ("objectives/ppo", "last = (s.mask > 0) & (left == 1)", "last = s.mask > 0",
     f"{ROLLOUTS}::test_reward_is_paid_once_and_an_answer_without_end_pays"),
    ("objectives/grpo", "(R.std(-1, keepdim=True) + 1e-4)", "(R.std() + 1e-4)",
     "core/test_laws_of_rows.py::test_a_group_of_nearly_equal_rewards_teaches_little"),
    ("objectives/online_dpo", "R.argmax(-1), R.argmin(-1)", "R.argmin(-1), R.argmax(-1)",
     f"{ROLLOUTS}::test_online_dpo_takes_the_best_and_the_worst"),
    ("rollout/rollouts", "(p.exp() * (p - q)).sum(-1)", "(q.exp() * (q - p)).sum(-1)",
     f"{ROLLOUTS}::test_what_a_rollout_reports"),
    ("rollout/rollouts", "copy.deepcopy(model)", "model", f"{ROLLOUTS}::test_the_start_model_stays_where_it_was"),
    ("reward", "-F.logsigmoid(r_w - r_l) +", "-F.logsigmoid(r_l - r_w) +", f"{REWARD}::test_by_hand"),
    # ---- scores, intervals, verdicts ---------------------------------------------------------------------------------
    ("world/skills", "not set(forbidden(fields)) & set(items)", "not set(forbidden(fields)) & set(words[:1])",
     "core/test_world.py::test_hand_made_scores"),
    ("world/__init__", "order[:round(noise * len(demos))]", "order[:int(noise * len(demos)) + 1]",
     "core/test_world.py::test_noise_spoils_exactly_its_share_and_nothing_else"),
    ("look/held_out", "(chosen - ref[0]) - (rejected - ref[1])", "chosen - rejected",
     f"{EVALUATE}::test_accuracy_is_what_was_gained_over_the_start_model"),
    ("look/held_out", "float(np.sum(sums) / np.sum(counts))} if top", "float(np.mean(np.array(sums) / counts))} if top",
     f"{EVALUATE}::test_held_out_loss_is_a_mean_over_tokens"),
    ("look/stats", "9: 2.262", "9: 2.226", f"{EVALUATE}::test_intervals_over_seeds_are_students"),
    ("look/held_out", "if grade in (None, 1.0)", "if grade in (None, 0.6, 1.0)",
     f"{EVALUATE}::test_the_loss_of_graded_answers_is_that_of_the_best"),
    ("lab/intervals", "rest = rest @ (number[:, None] == np.arange(G))", "pass",
     "lab/test_intervals.py::test_two_way_covers_the_truth_for_other_seeds_and_other_prompts"),
    ("look/stats", "x.std(ddof=1)", "x.std()", "lab/test_contrast.py::test_the_interval_is_paired"),
    ("lab/words", '== 1 else "undecided"', "== 1 else verdicts[0]",
     "lab/test_claims.py::test_bases_that_disagree_leave_the_claim_undecided"),
]


def file_of(where: str) -> str:
    return f"{where}.py" if where.startswith(("frozen_lake", "lab")) else f"nanouft/{where}.py"


def unfit(root: Path = ROOT) -> list[str]:
    """What of the list no longer fits the code: a text that does not stand there once, a test that is not there."""
    out = []
    for i, (where, old, new, test) in enumerate(MUTANTS):
        file, _, name = test.partition("::")
        if (n := (root / file_of(where)).read_text(encoding="utf-8").count(old)) != 1 or old == new:
            out.append(f"{i}: {file_of(where)} has {old!r} {n} times, not once")
        if f"def {name}(" not in (root / "tests" / file).read_text(encoding="utf-8"):
            out.append(f"{i}: tests/{file} has no {name}")
    return out


def tested(copy: Path, tests: list[str], timeout: float = 900) -> int:
    """Exit status of pytest: 0 passed, 1 failed, others: it could not be run. Too long counts as a failure."""
    # No bytecode: a mutant of the same size, planted within the same second, would not be noticed.
    env = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *(f"tests/{t}" for t in tests)]
    try:
        return subprocess.run(command, cwd=copy, env=env, capture_output=True, timeout=timeout).returncode
    except subprocess.TimeoutExpired:
        return 1


def plant(i: int, copies: queue.Queue) -> str:
    """"killed", "SURVIVES", or what else happened to mutant i."""
    where, old, new, test = MUTANTS[i]
    copy = copies.get()
    file = copy / file_of(where)
    whole = file.read_bytes()
    try:
        file.write_bytes(whole.replace(old.encode(), new.encode()))
        rc = tested(copy, [test])
    finally:
        file.write_bytes(whole)
        copies.put(copy)
    return {0: "SURVIVES", 1: "killed"}.get(rc, f"BROKEN (pytest: {rc})")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", type=int, metavar="N", help="numbers of mutants [all]")
    parser.add_argument("--workers", type=int, default=1, help="how many at a time [1]")
    args = parser.parse_args(argv)
    if not all(0 <= i < len(MUTANTS) for i in args.only or ()):
        parser.error(f"--only: numbers go from 0 to {len(MUTANTS) - 1}")
    if wrong := unfit():
        sys.exit("\n".join(["the list does not fit the code:", *wrong]))
    numbers, found = args.only or range(len(MUTANTS)), []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: queue.Queue = queue.Queue()
        for k in range(args.workers):
            copy = Path(folder) / str(k)
            for name in COPIED:
                source, skip = ROOT / name, shutil.ignore_patterns("__pycache__")
                if source.is_dir():
                    shutil.copytree(source, copy / name, ignore=skip)
                else:
                    shutil.copy(source, copy / name)
            copies.put(copy)
        if tested(copy, sorted({MUTANTS[i][3] for i in numbers})):
            sys.exit("the tests fail, or cannot be run, without a mutant: repair them first")
        with ThreadPoolExecutor(args.workers) as pool:
            for i, said in zip(numbers, pool.map(lambda i: plant(i, copies), numbers)):
                where, old, new, test = MUTANTS[i]
                found.append(said)
                print(f"{i:>3} {said:<8} {file_of(where)}: {' '.join(old.split())} -> {' '.join(new.split())}"
                      + (f"   ({test})" if said != "killed" else ""), flush=True)
    print(f"{len(found)} mutants: {found.count('killed')} killed, {found.count('SURVIVES')} survive"
          + (f", {broken} broken" if (broken := sum(x.startswith('BROKEN') for x in found)) else ""))
    return int(found.count("killed") < len(found))


if __name__ == "__main__":
    sys.exit(main())
