"""Which method is better? Train several on the same rows and seeds, and test the differences.

    python -m nanouft.compare sft sft+dpo "sft+mine.py"  # NanoWorld; DPO, yours after SFT
    python -m nanouft.compare sft "sft+dpo --beta 1" --data my.jsonl --init DIR --lora 16
    python -m nanouft.compare a=sft b=sft                       # noise: one method twice

nanouft.train trains each method (flags of its own in quotes). All have the same batch size, epochs
or steps, and number of learning rates (chains of one length get one more, if the best of one is at
the edge). These are searched on validation prompts with one seed; then
the method's own and the two best with three, and the best mean is taken. Then other seeds are
trained, and evaluated on test prompts that the search has not seen.

Your rows are split by prompt: 60 % train, 10 % choose learning rates, 15 % test, 15 % wait for
--confirm. Each seed trains on a bootstrap sample; rows with the same field `group` are drawn as
one. The metric is the mean reward of sampled responses (--reward), or else how often the chosen
response is more likely, the AUC of graded responses, or the loss of demonstrations.

The verdict is better, worse, equivalent (95 % CI within the margin; stats.py) or undecided; all
comparisons of a table share the 5 % (Bonferroni). Test once: --confirm uses new seeds and prompts.
Runs are kept for the next comparison, and the same command continues. One is made again if its
flags, rows, initial model, nanouft's code or your own file changes, with what that imports from its
folder.
"""
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from multiprocessing import current_process
from pathlib import Path
from typing import Any

from nanouft.compare import report
from nanouft.compare.jobs import (
    RESUME_HINT,
    RunsBar,
    Submit,
    local_workers,
    make_runs,
    visible_gpus,
    workers_of,
)
from nanouft.compare.notes import few_seeds
from nanouft.compare.plan import (
    CLASSES,
    FLAGS,
    Comparison,
    parse_command,
    plan,
    values_of_call,
)
from nanouft.compare.runs import Run, remove_heavy_weights, remove_unfinished
from nanouft.compare.search import Found, expected_interval_text, most_runs, search_rates
from nanouft.compare.table import note_lines, setup_lines, wrapped
from nanouft.compare.verdicts import verdicts
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import own_file
from nanouft.plumbing.printing import ALL, BRIEF, quiet, say
from nanouft.run.checkpoint import handle_signals
from nanouft.run.folder import lock_when_free
from nanouft.run.python_api import python_call


def main(argv: list[str] | None = None) -> int:
    compare(parse_command(sys.argv[1:] if argv is None else argv, __doc__))
    return 0


@python_call(*CLASSES, only=FLAGS)
def run(*methods: Any, verbose: bool = False, executor: Executor | None = None,
        **flags: Any) -> report.Verdict:
    """nanouft.compare.run: what the command does. methods: one after the other or as a list; each
    as it is typed there, a file, a class in a file, or an object of one. flags: those of the
    command; data may be rows. verbose: print what the command prints. executor: it carries the runs
    to other machines (jobs.py)."""
    check_guarded()
    with quiet(but_for=ALL if verbose else BRIEF):
        return compare(values_of_call(methods, flags), executor)


def check_guarded() -> None:
    """UserError for a script that would begin again where it is read: as a method, or by another
    process that you start."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    unguarded = file and Path(file).is_file() and "__name__" not in Path(file).read_text(
        "utf-8", "replace")
    if unguarded or getattr(current_process(), "_inheriting", False):
        raise UserError(f"{file or 'this script'}: a comparison in it begins again "
                        "wherever it is imported; call it below `if __name__ == \"__main__\":`")


def compare(given: dict[str, Any], executor: Executor | None = None) -> report.Verdict:
    """given: {flag: its value}. Search, then seeds, then the verdict."""
    c = plan(given)
    c.early_notes += few_seeds(c)
    with alone_in(c.out):
        say(f"{', '.join(arm.name for arm in c.arms)}: {c.cfg.seeds} seeds", at=BRIEF)
        say(*setup_lines(c), "", sep="\n")
        for text in c.early_notes:
            say(*note_lines(text), "", sep="\n", at=BRIEF)
        with workers(c, executor) as submit, RunsBar(
                most_runs(c), None if executor else c.cfg.workers) as bar:
            def make(runs: Iterable[Run]) -> None:
                make_runs(runs, submit, bar)
            found: Found = {}
            for stages in sorted({len(arm.stages) for arm in c.all_arms}):
                arms = [arm for arm in c.all_arms if len(arm.stages) == stages]
                arms.sort(key=lambda arm: not own_file(arm.stages[-1][0]))  # its mistakes first
                found |= search_rates(c, arms, make)
            if text := expected_interval_text(c, found):
                bar.clear()
                say(*wrapped(text), sep="\n", at=BRIEF)
            tested = [c.initial(), *(c.run(arm, seed) for seed in c.seeds for arm in c.all_arms)]
            bar.expect_only(tested)
            make(tested)
        remove_heavy_weights(tested)
        return report.write_report(c, found, *verdicts(c))


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """One comparison at a time works in a folder. SIGTERM does what Ctrl-C does. What a killed
    comparison has left half done is removed."""
    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt(RESUME_HINT)
    out.mkdir(parents=True, exist_ok=True)
    notice = f"{out}: in use by another comparison; waiting until it has finished"
    with handle_signals(("SIGTERM", "SIGINT"), stop), lock_when_free(out, "lock", notice):
        remove_unfinished(out)
        yield


@contextmanager
def workers(c: Comparison, executor: Executor | None) -> Iterator[Submit]:
    """Yours, or processes of this machine, with a GPU for each."""
    if executor:
        yield workers_of(executor)
        return
    gpus = visible_gpus() if c.stage_plan.device == "cuda" else []
    with local_workers(c.cfg.workers or 1, gpus) as submit:
        yield submit


if __name__ == "__main__":
    sys.exit(command(main, needs_less="give --workers 1 or --lora 16"))
