"""The right function of piece ift, and common mistakes."""
from lessons.behind.tasks.task import Task
from lessons.papers.pieces import runs
from lessons.papers.pieces.runs import weights_of

STEPS, LEARNED = 32, 0.3        # of the run; nats of <|end|> that it may leave
OFF = "has the distance from the released loss, divided or not:"


def repaired(losses, mask):
    weights = weights_of(losses, mask).detach()
    return (weights * losses).sum(1) / mask.sum(1)


def losses_and_mask(draw):
    """Hard tokens and learned ones."""
    B, T = draw.randint(1, 2), draw.randint(2, 4)
    mask = draw.mask(B, T).float()
    hard = (draw.numbers(0, 1, B, T) > 0.4) * draw.numbers(0.3, 3, B, T)
    return (0.01 + hard) * mask, mask


def of_a_call(gives, losses, mask):
    """Many repairs are right: none pushes a token down, and all keep the released loss, divided by
    the mean weight or not."""
    loss, slopes = gives
    return {"has the largest push down:": (-slopes).clamp(min=0).max().item(),
            OFF: off(loss, losses, mask)}


def off(loss, losses, mask):
    v, divided = runs.undivided(losses, mask).sum(1), runs.released(losses, mask)
    return min((loss - x).abs().max().item()
               for x in (divided, divided * v / mask.sum(1), divided * v))


def of_the_run(gives, steps):
    """It must be a run of IFT: SFT learns to stop as well, and is no repair."""
    loss, path = gives
    allowed, nats = f"at most {LEARNED} nats", path[-1]
    return {OFF: off(loss, runs.LOSSES, runs.MASK),
            "leaves <|end|> with": allowed if nats <= LEARNED else f"{nats:.2f} nats"}


def outcome(repaired):
    for name, loss in (("yours", repaired), ("released", runs.released)):
        path = runs.end_path(loss, STEPS)
        yield f"{name:<9}loss of <|end|> every four steps: " + " ".join(f"{x:.2f}" for x in path)


RELEASED = ("This is still the released loss: gradient flows through weights that are divided by "
            "their mean.")
SFT = "This is SFT. A repaired IFT still weighs a token by what follows it."
TASKS = {
    "ift: loss": Task(repaired, losses_and_mask, [
        (".detach()", "", RELEASED), ("weights_of(losses, mask).detach()", "mask", SFT),
        ("weights * losses", "weights_of(losses, mask) * losses.detach()", "The weights should be "
         "constants, and not the losses that they multiply."),
        (" / mask.sum(1)", " / mask.sum()", "The loss of an answer is divided by its own tokens, "
         "not by those of all answers.")],
        runs.loss_and_slopes, of_a_call, 1e-3),
    "ift: run": Task(repaired, lambda draw: (STEPS,), [
        (".detach()", "", RELEASED), ("weights_of(losses, mask).detach()", "mask", SFT)],
        runs.trained, of_the_run, rounds=1, seconds=60,
        text=f"    {STEPS} steps on lists with your loss\n")}
