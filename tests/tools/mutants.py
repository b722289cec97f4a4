"""Mutants by hand: faults that the random edits of mutate.py cannot make, each with the test that must notice it.

    python tests/tools/mutants.py                     # all of them in a copy of the project: about 4 minutes
    python tests/tools/mutants.py --only 3 17         # these numbers

mutate.py changes one place: an operator, a number, an argument. It never puts another quantity in the place of the
right one (old for ref, rows for tokens, eps for eps_value), never turns a - b round, never changes the order of two
operations, and adds nothing. Such faults stand here, one of a kind in a room. tests/test_mutants.py checks that the
list fits the code.
"""
import argparse
import queue
import shutil
import sys
import tempfile
from pathlib import Path

import mutate
from mutate import ROOT

ROLLOUTS, OBJECTIVES, PAIRS = (f"core/test_{name}.py" for name in ("rollouts", "objectives", "pairs"))
BATCHES, OPTIMIZER, EVALUATE = (f"core/test_{name}.py" for name in ("batches", "train", "evaluate"))
GENERATE, REWARD, IFT, GPT = (f"core/test_{name}.py" for name in ("generate", "reward", "ift", "gpt"))

# (file, what stands there once, what is planted, the test that must fail); .py and the folders are left out
MUTANTS = [
    # ---- what a reviewer planted and no test saw ---------------------------------------------------------------------
    ("rollout/rollouts", "rollout_seed(self.cfg.seed, number, ", "rollout_seed(self.cfg.seed, 0, ",
     f"{ROLLOUTS}::test_a_rollout_is_a_function_of_its_number_and_the_weights"),
    ("rollout/rollouts", "float(stops(a, self.tok)) for a in answers", "float(a.ended) for a in answers",
     f"{ROLLOUTS}::test_who_runs_on_has_not_stopped"),
    ("rollout/rollouts", "k3(ref - old)", "k3(old - ref)",
     f"{ROLLOUTS}::test_what_a_rollout_reports"),
    ("objectives/ppo", '= model(hidden=hidden, want="value")', '= model(hidden=hidden.detach(), want="value")',
     f"{ROLLOUTS}::test_what_the_critic_must_learn_reaches_the_shared_states"),
    ("train", '"rate": VALUE_RATE', '"rate": 1', f"{OPTIMIZER}::test_a_new_value_head_learns_at_thirty_times_the_rate"),
    ("objectives/grpo", "batch.col.adv[:, None], hp.eps, high)", "batch.col.adv[:, None], hp.eps, hp.eps)",
     f"{ROLLOUTS}::test_each_side_of_the_clip_is_its_own"),
    ("objectives/reinforce", "rho.clamp(1 - low, 1 + high)", "rho.clamp(1 - high, 1 + low)",
     f"{ROLLOUTS}::test_each_side_of_the_clip_is_its_own"),
    ("objectives/reinforce", "R - R.mean() if", "R - batch.col.reward.mean() if",
     f"{ROLLOUTS}::test_baselines_and_spread_are_of_rewards_after_the_leash"),
    ("objectives/rloo", "(adv.std() + 1e-4)", "(adv.abs().mean() + 1e-4)",
     f"{ROLLOUTS}::test_baselines_and_spread_are_of_rewards_after_the_leash"),
    ("world/__init__", "p=(1 + score(prompt, better) - score(prompt, worse)) / 2", "p=1 - score(prompt, worse) / 3",
     "core/test_world.py::test_rows_hold_what_their_kind_promises"),
    ("rollout/scorer", "[0][-model.gpt.cfg.n_ctx:]", "[0][:model.gpt.cfg.n_ctx]",
     f"{REWARD}::test_the_scorer_prefers_what_was_chosen_and_reads_each_text_once"),
    ("reward", "0.5 + 0.5 * np.sign(margin)", "(margin > 0) * 1.0",
     f"{REWARD}::test_the_figures_by_hand"),
    ("objectives/dpo", '(batch.tokens["chosen"] + batch.tokens["rejected"])', '(2 * batch.tokens["chosen"])',
     f"{PAIRS}::test_the_kl_of_pairs_is_per_token_and_a_tie_is_a_thousandth_of_a_nat"),
    ("objectives/online_una", "ref = s.old if", "ref = s.logp.detach() if",
     f"{ROLLOUTS}::test_online_una_against_the_rollout_starts_at_a_half"),
    ("objectives/rpo", "W.diagonal().sum()", "W.sum()", f"{PAIRS}::test_each_methods_own_figures_by_hand"),
    # ---- tokens, masks, shifts, cuts ---------------------------------------------------------------------------------
    ("data/batches", "targets=stack([s.ids[1:]", "targets=stack([s.ids[:-1]",
     f"{BATCHES}::test_a_conversation_to_the_token"),
    ("data/batches", "np.ones(len(s.ids) - 1)", "s.mask[1:]", f"{BATCHES}::test_collate_pads_on_the_right"),
    ("data/rows", "if key not in held], [", "], [",
     "core/test_data.py::test_holdout_keeps_prompts_together_in_any_order"),
    ("objective", "T = int(self.attend[rows].sum(-1).max())", "T = int(self.mask[rows].sum(-1).max())",
     f"{ROLLOUTS}::test_the_ratio_is_one_before_the_first_update"),
    ("objective", "self.sum(x) / self.mask.sum(-1).clamp_min(1)", "self.sum(x) / self.mask.shape[-1]",
     f"{OBJECTIVES}::test_sum_and_mean_of_a_role"),
    ("objective", "step_col=self.step_col.each(f))", "step_col=None)", f"{OBJECTIVES}::test_micro_batches_add_up"),
    # ---- the model and sampling --------------------------------------------------------------------------------------
    ("gpt", "is_causal=mask is None", "is_causal=False", f"{GPT}::test_nothing_looks_ahead"),
    ("gpt", "(q / math.sqrt(C // self.nh)) @ k.mT", "(q / math.sqrt(C)) @ k.mT",
     f"{GENERATE}::test_the_cache_changes_nothing"),
    ("models/generate", "logits.float().log_softmax(-1).gather(1, token", "(logits / (temperature or 1)).float()"
     ".log_softmax(-1).gather(1, token", f"{GENERATE}::test_log_probs_of_decoding_are_those_of_scoring"),
    ("models/generate", "u = 1 - torch.rand(B", "u = torch.rand(B",
     f"{GENERATE}::test_no_random_number_draws_what_has_no_chance"),
    ("models/generate", "generator=rng)[rows]", "generator=rng)[:len(rows)]",
     f"{GENERATE}::test_an_answer_that_ends_changes_no_other"),
    ("models/generate", "lp, stop, forced) for row, lp, forced in zip(said.tolist(), logp.tolist(), priors)",
     "lp, stop, forced) for row, lp, forced in zip(said.tolist(), logp.tolist(), priors[::-1])",
     "core/test_supervised.py::test_each_answer_begins_as_it_is_told_and_goes_on_by_itself"),
    # ---- the loop ----------------------------------------------------------------------------------------------------
    ("training/schedule", "cosine(step - up, max(1, steps - up))", "cosine(step, steps)",
     "core/test_laws_of_rows.py::test_the_schedule_of_train"),
    ("train", "p.dim() < 2], \"weight_decay\": 0.0", "p.dim() < 2], \"weight_decay\": cfg.weight_decay",
     f"{OPTIMIZER}::test_matrices_decay_and_nothing_else"),
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
    ("objectives/una", "-score * F.logsigmoid(i) - (1 - score)", "-score * F.logsigmoid(i) - score",
     "core/test_una_uft.py::test_slopes_in_closed_form"),
    ("objectives/uft", "e for e in graded_rows(data, hp) if", "e for e in graded_rows(data, hp)[::2] if",
     "core/test_una_uft.py::test_uft_merges_by_counts"),
    ("objectives/ppo", "gamma * following - V[:, t]", "gamma * V[:, t] - V[:, t]",
     "core/test_parity.py::test_every_case_of_our_objectives_agrees"),
    ("objectives/ppo", "last = (s.mask > 0) & (left == 1)", "last = s.mask > 0",
     f"{ROLLOUTS}::test_reward_is_paid_once_and_an_answer_without_end_pays"),
    ("objectives/grpo", "(R.std(-1, keepdim=True) + 1e-4)", "(R.std() + 1e-4)",
     "core/test_laws_of_rows.py::test_a_group_of_nearly_equal_rewards_teaches_little"),
    ("rollout/rollouts", "(p.exp() * (p - q)).sum(-1)", "(q.exp() * (q - p)).sum(-1)",
     f"{ROLLOUTS}::test_what_a_rollout_reports"),
    ("rollout/rollouts", "copy.deepcopy(model)", "model", f"{ROLLOUTS}::test_the_start_model_stays_where_it_was"),
    # ---- scores, intervals, verdicts ---------------------------------------------------------------------------------
    ("world/skills", "not set(forbidden(fields)) & set(items)", "not set(forbidden(fields)) & set(words[:1])",
     "core/test_world.py::test_hand_made_scores"),
    ("look/held_out", "float(np.sum(sums) / np.sum(counts))} if top", "float(np.mean(np.array(sums) / counts))} if top",
     f"{EVALUATE}::test_held_out_loss_is_a_mean_over_tokens"),
    ("lab/contrast", "rest = rest @ (number[:, None] == np.arange(G))", "pass",
     "lab/test_intervals.py::test_two_way_covers_the_truth_for_other_seeds_and_other_prompts"),
]


def file_of(where: str) -> str:
    return f"{where}.py" if where.startswith(("frozen_lake", "lab")) else f"nanouft/{where}.py"


def unfit() -> list[str]:
    """What of the list no longer fits the code: a text that does not stand there once, a test that is not there."""
    out = []
    for i, (where, old, new, test) in enumerate(MUTANTS):
        file, _, name = test.partition("::")
        if (n := (ROOT / file_of(where)).read_text(encoding="utf-8").count(old)) != 1 or old == new:
            out.append(f"{i}: {file_of(where)} has {old!r} {n} times, not once")
        if f"def {name}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8"):
            out.append(f"{i}: tests/{file} has no {name}")
    return out


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", type=int, metavar="N", choices=range(len(MUTANTS)), help="numbers [all]")
    args = parser.parse_args(argv)
    if wrong := unfit():
        sys.exit("\n".join(["the list does not fit the code:", *wrong]))
    numbers, alive = args.only or range(len(MUTANTS)), 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        folder, copies = Path(temporary).resolve() / "copy", queue.Queue()
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "out", "__pycache__"))
        copies.put(folder)
        if not mutate.passes(folder, sorted({f"tests/{MUTANTS[i][3]}" for i in numbers}), 3600):
            sys.exit("the tests fail without a mutant: repair them first")
        for i in numbers:
            where, old, new, test = MUTANTS[i]
            source = (ROOT / file_of(where)).read_bytes().replace(old.encode(), new.encode())
            mutant = mutate.Mutant(file_of(where), 0, source, f"{' '.join(old.split())} -> {' '.join(new.split())}")
            survives = mutate.survives(mutant, copies, [f"tests/{test}"], 900)
            alive += survives
            print(f"{i:>3} {'SURVIVES' if survives else 'killed  '} {mutant.file}: {mutant.edit}", flush=True)
    print(f"{len(numbers)} mutants, {alive} survive")
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main())
