"""The held-out rows that a run scores, and the questions among them that the model answers.

    held_out = choose_held_out(cfg, objective, held_out, steps, batch_size)
"""
from nanouft.data.batches import Encoded
from nanouft.objective import Objective
from nanouft.plumbing.printing import quantity, say
from nanouft.run.settings import TrainFlags

ASKED = 2               # held-out questions that a model answers before and after


def scores_answers(cfg: TrainFlags, objective: Objective) -> bool:
    """True if the model answers held-out questions of your rows, and a reward scores them."""
    return bool(cfg.data) and objective.on_policy and (
        objective.scorer != "none" or cfg.reward != "exact")


def choose_held_out(cfg: TrainFlags, objective: Objective, held_out: list[Encoded],
                    steps: int, batch_size: int) -> list[Encoded]:
    """The held-out rows that a run scores before and after; a long run scores more of them."""
    if cfg.plain and not cfg.eval_every:
        return []
    if not cfg.data:
        return held_out
    if not held_out:
        say("no row is held out, so nothing is measured; --eval-data FILE gives other rows")
        return held_out
    if not cfg.eval_data:
        times = 2 + (steps // cfg.eval_every if cfg.eval_every else 0)
        held_out = affordable(held_out, steps * batch_size * objective.samples, times)
    say(f"before and after training: {quantity(len(held_out), 'held-out rows')} scored")
    return held_out


def affordable(held_out: list[Encoded], trained: int, times: int) -> list[Encoded]:
    """From 32 to 200 held-out rows, spread over the file. Scoring them `times` times may cost a
    tenth of training on `trained` rows, if a step costs three forwards."""
    n = min(len(held_out), max(32, min(200, int(0.1 * 3 * trained / times))))
    return [held_out[i * len(held_out) // n] for i in range(n)]
