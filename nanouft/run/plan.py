"""What a run trains, decided once, before anything is trained.

    plan = plan_run(cfg, objective, given, rows, model, tok)
    say(plan.headline(model, device))

Where nothing is given, the rate, the batch, the steps and beta follow from the rows.
"""
import statistics
from dataclasses import dataclass, replace

from nanouft.data.batches import Encoded, Pace
from nanouft.generate import MAX_NEW, longest_answer
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import WIDTH, Objective
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.printing import counted, say
from nanouft.run.held_rows import choose_held_out
from nanouft.run.load import Rows, encode_rows
from nanouft.run.settings import Train

FEW = 3e-5              # highest rate for a few rows that are not demonstrations


@dataclass(frozen=True)
class Plan:
    """All that decides what a run learns. Nothing in it changes afterwards."""
    cfg: Train                  # the flags, with what was chosen in place of what was not given
    objective: Objective        # with its settings, as they train
    rate: float                 # the peak of the learning rate
    steps: int
    max_new: int                # longest sampled answer, in tokens
    train: list[Encoded]
    held: list[Encoded]         # held-out rows that are scored before and after
    given: frozenset[str]       # names of the flags that were given

    @property
    def pace(self) -> Pace:
        return Pace(self.cfg.batch_size, self.steps, self.cfg.seed, self.cfg.accumulate)

    @property
    def epochs(self) -> float:
        """Passes over the training rows."""
        return self.steps * self.cfg.batch_size / (len(self.train) * self.objective.passes)

    def headline(self, model: GPT, device: Device) -> str:
        """What is trained, for how long, on what: the first lines of a run."""
        size, trained = (sum(p.numel() for p in some) / 1e6 for some in (
            [*model.parameters()], [p for p in model.parameters() if p.requires_grad]))
        parameters = f"{size:.2f}M parameters"
        if trained < size:
            parameters = f"{trained:.2f}M of {parameters} are trained"
        unit = "prompts" if self.objective.on_policy else "rows"
        precision = "" if device.dtype == "fp32" else f" {device.dtype}"
        of_step = counted(self.cfg.batch_size, unit)
        return (f"{self.objective}: {counted(self.steps, 'steps')} of {of_step} = "
                f"{as_passes(self.epochs)} over the data, learning rate {self.rate:.2g}\n"
                f"{len(self.train):,} {unit}, {parameters}, on {device.name}{precision}")

    def chosen_here(self) -> str:
        """Which flags of steps, batch size and rate were not given."""
        names = [flag(name) for name in ("epochs", "batch_size", "lr")
                 if name not in self.given and not (name == "epochs" and self.cfg.steps)]
        return f"chosen by the run, since not given: {', '.join(names)}" if names else ""


def plan_run(asked: Train, objective: Objective, given: set[str], rows: Rows, model: GPT,
             tok: Tokenizer) -> Plan:
    """The plan of the run that these flags ask for. `rows`: those of load_rows."""
    max_new = asked.max_new or (longest_answer(model, tok) if asked.data else MAX_NEW)
    train, held = encode_rows(asked, objective, rows, model, tok, max_new)
    rate, batch_size, steps = rate_and_steps(asked, objective, len(train), model, given)
    cfg = replace(asked, lr=rate, batch_size=batch_size, max_new=max_new)
    chosen = with_beta(objective, train) if cfg.data and "beta" not in given else objective
    return Plan(cfg, chosen, rate, steps, max_new, train,
                choose_held_out(cfg, chosen, held, steps), frozenset(given))


def rate_and_steps(cfg: Train, objective: Objective, rows: int, model: GPT,
                   given: set[str]) -> tuple[float, int, int]:
    """(peak learning rate, rows or prompts of a step, steps): what is given, else what fits. A
    model wider than the base reads your rows three times, in at least 20 steps of 8 rows or 4
    prompts, and at a low rate unless they are demonstrations, because more makes answers worse. A
    narrow model also reads a small file in such steps, but demonstrations for 200 to 400 steps at
    four times the rate, because three passes over 40 rows would change nothing."""
    demos, sampled = objective.kinds() == ["demos"], objective.on_policy
    wide = bool(cfg.data) and model.cfg.n_embd > WIDTH
    few = bool(cfg.data) and not sampled and 3 * rows < Train.batch_size * (200 if demos else 20)
    rate, batch_size, least = objective.rate(model, cfg.lora > 0), cfg.batch_size, 1
    if wide or few:
        least = min(400, max(200, 10 * rows)) if demos and not wide else 20
        if "batch_size" not in given:
            batch_size = 4 if sampled else min(8, rows)
        if not (demos or sampled):
            rate *= min(1, FEW / objective.lr)
        elif demos and not (wide or cfg.lora):              # SmolLM2 learnt no more by it
            rate *= 4
    if batch_size > rows and not sampled:
        raise UserError(f"--batch-size {batch_size}: there are only "
                        f"{counted(rows, 'rows')} to learn from")
    steps = max(1, round((cfg.epochs or 3) * rows / batch_size))
    steps = steps if cfg.epochs else max(least, steps)
    return cfg.lr or rate, batch_size, cfg.steps or steps * objective.passes


def with_beta(objective: Objective, data: list[Encoded]) -> Objective:
    """UNA or UFT from scores, with the beta that fits the length of its answers: 1 / median, from
    .01 to .1. A score is reached after some 1 / beta nats of the whole answer (una.py)."""
    if getattr(objective, "feedback", "") != "score":
        return objective
    median = statistics.median(t.mask.sum() for e in data for t in e.seqs.values())
    beta = float(f"{min(0.1, max(0.01, 1 / median)):.2g}")
    say(f"beta {beta:g} suits answers of {median:g} tokens, the median (--beta)")
    return replace(objective, **{"beta": beta})


def as_passes(rows: float) -> str:
    """"3 passes", "0.25 passes": rows read per row of the data."""
    text = f"{rows:,.0f}" if rows >= 9.95 else f"{rows:.2g}"
    return f"{text} {'pass' if text == '1' else 'passes'}"
