"""Mutants by hand: faults that the random edits of mutate.py cannot make, each with the test that must notice it.

    python tests/tools/mutants.py                     # all of them in a copy of the project: about 2 minutes
    python tests/tools/mutants.py --only 3 17         # these numbers

mutate.py changes one place: an operator, a number, an argument. It never puts another quantity in the place of the
right one (old for ref, rows for tokens, eps for eps_value), never turns a - b round, never changes the order of two
operations, and adds nothing. Such faults stand here: those that reviewers planted and no test saw, before there was
one. tests/test_mutants.py checks that the list fits the code.
"""
import argparse
import queue
import shutil
import sys
import tempfile
from pathlib import Path

import mutate
from mutate import ROOT

ROLLOUTS, PAIRS, OPTIMIZER, REWARD = (f"core/test_{name}.py" for name in ("rollouts", "pairs", "train", "reward"))

# (file, what stands there once, what is planted, the test that must fail); .py and the folders are left out
MUTANTS = [
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
