"""Your function at work: a lesson runs with it. python -m lessons.grade 07a --in-lesson

`PUT[id](f)` puts the student's function f where the lesson will find it: in place of a function of
a module, or of the loss of an objective. The project's losses see whole batches with masks, so each
has a thin adapter.
"""
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lessons.grade import folder
from lessons.grade.folder import My
from nanouft.errors import UserError

# ---- one adapter a task --------------------------------------------------------------------------

def put_loss(name: str, loss) -> None:
    """An objective with another loss(batch, hp)."""
    from nanouft.objectives import OBJECTIVES
    OBJECTIVES[name] = replace(OBJECTIVES[name], loss=loss)


def put_sft(f) -> None:
    def loss(batch, hp):
        s = batch.seqs["answer"]
        nll = -s.sum(s.logp).sum().detach() / batch.tokens["answer"]
        return f(s.logp, s.mask, hp.reduction), {"nll": nll}
    put_loss("sft", loss)


def put_ift(f) -> None:
    import torch

    from nanouft.objectives import ift
    project = ift.weights

    def weights(nll, s, hp):
        """The student's function knows the released form; other forms are the project's."""
        if hp.variant not in ("released", "detached") or hp.gamma == 0:
            return project(nll, s, hp)
        seen = nll.detach() if hp.detach or hp.variant == "detached" else nll
        rows = zip(seen, s.mask.to(nll.dtype))
        return torch.stack([f(losses, mask, hp.gamma) for losses, mask in rows])
    ift.weights = weights


def put_dpo(f) -> None:
    from nanouft.objectives import dpo
    project = dpo.dpo_loss

    def dpo_loss(chosen, rejected, beta, label_smoothing=0.0, reduction="sum"):
        """The student's function knows the sum; the mean is the project's."""
        if reduction == "mean":
            return project(chosen, rejected, beta, label_smoothing, reduction)
        rows = [
            x.masked_fill(s.mask == 0, 0) for s in (chosen, rejected) for x in (s.logp, s.ref_logp)
        ]
        return f(*rows, beta)
    dpo.dpo_loss = dpo_loss


def put_simpo(f) -> None:
    import torch

    from nanouft.objectives.cpo import add_nll

    def loss(batch, hp):
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        each = [f(a, b, hp.beta, hp.gamma).reshape(()) for a, b in zip(answers(w), answers(l))]
        each = torch.stack(each)
        return add_nll(batch, hp, each, hp.beta * w.mean(w.logp), hp.beta * l.mean(l.logp))
    put_loss("simpo", loss)


def answers(s) -> list:
    """The log-probs of each answer without its padding."""
    return [logp[mask > 0] for logp, mask in zip(s.logp, s.mask)]


def put_una(f) -> None:
    import torch

    from nanouft.objectives import una

    def score_loss(i, score, form):
        return f(i, torch.as_tensor(score, dtype=i.dtype).expand_as(i), form)
    una.score_loss = score_loss


def put_poft(f) -> None:
    import torch

    from nanouft.objectives import poft

    def loss(batch, hp):
        s = batch.seqs["answer"]
        rows = zip(s.logp, s.mask, batch.per_row.extra["aligned_logp"])
        each = torch.stack([f(logp, mask, [aligned[None]])[0] for logp, mask, aligned in rows])
        return each.sum() / batch.rows, {"tau": poft.tau(batch, hp).sum().detach() / batch.rows}
    put_loss("poft", loss)


def put_rloo(f) -> None:
    from nanouft.objectives import rloo
    rloo.leave_one_out = f


def put_clip(f) -> None:
    import torch

    from nanouft.objectives import on_policy

    def clipped(rho, adv, low, high):
        return f(rho.log(), torch.zeros_like(rho), adv, low)
    on_policy.clipped = clipped


def put_dft(f) -> None:
    def loss(batch, hp):
        s = batch.seqs["answer"]
        return f(s.logp, s.mask), {}
    put_loss("dft", loss)


PUT = {"03b": put_sft, "06a": put_ift, "07a": put_dpo, "08a": put_simpo, "09a": put_una,
       "11a": put_poft, "14a": put_rloo, "15b": put_clip, "16b": put_dft}


# ---- the run -------------------------------------------------------------------------------------

def in_lesson(task, my: My) -> None:
    """Run the lesson in another process; its pictures are put into my/out."""
    if task.id not in PUT:
        raise UserError(f"--in-lesson is there for {', '.join(PUT)}")
    good = [e for e in my.entries(task.id, "try") if e.get("state") in ("right", "amber")]
    if my.hash(task) not in [entry.get("hash") for entry in good]:
        raise UserError(f"first let {task.id} be right: python -m lessons.grade {task.id}")
    place = my.path.resolve() / "out"
    place.mkdir(exist_ok=True)
    print(f"The lesson runs with your function, about a minute. Pictures: {place}", flush=True)
    module, file = "lessons.grade.tasks.used", str(my.file(task).resolve())
    with tempfile.TemporaryDirectory() as scratch:
        why = Path(scratch) / "why"
        order = [sys.executable, "-m", module, task.id, file, str(why)]
        code = subprocess.run(order, cwd=place, env=folder.environment()).returncode
        error = why.read_text(encoding="utf-8") if why.exists() else f"exit code {code}"
    if code:
        raise UserError(f"with your {task.function} the lesson stops: {error}; with the project's "
                        "own it does not")
    my.log(task.id, "in-lesson")
    print(f"\nYour {task.function} trained these models.")


def main(id: str, file: str, why: str) -> int:
    """In the other process: the lesson with the student's function. An error is one sentence."""
    from lessons.grade.outcome import told
    try:
        run(id, file)
    except Exception as e:
        Path(why).write_text(told(e, file), encoding="utf-8")
        return 1
    return 0


def run(id: str, file: str) -> None:
    """The student's function is put in place; then the lesson runs."""
    import types
    space: dict = {"__name__": Path(file).stem}
    exec(compile(Path(file).read_bytes(), file, "exec"), space)
    PUT[id](space[folder.find(id).function])
    lesson = folder.lesson_file(id)
    sys.modules["lesson"] = module = types.ModuleType("lesson")     # dataclasses look it up
    exec(compile(lesson.read_text(encoding="utf-8"), str(lesson), "exec"), module.__dict__)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
