"""What train.py does before the loop, in its order: check, rows, tokens, columns, the run folder.

Each function is one line of train.main; read that first.
"""
import contextlib
import math
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from nanouft.data.batches import Encoded, Epochs, encode
from nanouft.data.rows import Row, contents, holdout
from nanouft.data.tokenizer import Tokenizer
from nanouft.gpt import GPT
from nanouft.look import report
from nanouft.look.held_out import encode_held, held_out
from nanouft.models.load import folder_of
from nanouft.objective import REF, Batch, Objective, Prerequisite
from nanouft.objectives import OBJECTIVES
from nanouft.reference import add_columns
from nanouft.shell import runs
from nanouft.shell.checkpoints import loop_steps
from nanouft.shell.config import as_words
from nanouft.shell.devices import Device
from nanouft.shell.errors import Diverged, UserError, flag, optional
from nanouft.shell.files import checksum
from nanouft.shell.text import visible
from nanouft.training.flags import Train


def check(name: str, cfg: Train, device: Device) -> None:
    """UserError for what cannot work: said before anything is read."""
    if cfg.log != "none":
        optional(cfg.log, f"--log {cfg.log}", "log")
    if cfg.optimizer == "adamw8bit":
        optional("bitsandbytes", "--optimizer adamw8bit", "adam8bit")
    pieces = device.processes * cfg.accumulate
    if cfg.batch_size < pieces:
        raise UserError(f"--batch-size {cfg.batch_size} cannot be cut into {pieces} pieces")
    if cfg.shard:
        check_shard(name, cfg, device)
    if OBJECTIVES[name].on_policy or cfg.reward != "exact":
        from nanouft.rollout.scorer import scorer  # only for methods that ask for rewards
        scorer(cfg.reward, device.name)                         # one that is not there is said now


def check_shard(name: str, cfg: Train, device: Device) -> None:
    """UserError for what --shard does not go together with."""
    if device.processes == 1 and not cfg.resume:
        raise UserError("--shard shares the weights out among processes, and there is one; start several by torchrun "
                        "(docs/data.md)")
    for is_so, what in ((OBJECTIVES[name].on_policy, f"{name} samples answers, which needs all weights at each token"),
                        (cfg.compile == "on", "--compile on is not tried with it"),
                        (cfg.freeze == "half", "--freeze half holds rows of whole matrices"),
                        (cfg.optimizer == "adamw8bit", "--optimizer adamw8bit knows whole tensors only"),
                        (device.dtype == "fp16", "--dtype fp16 is not tried with it; use bf16 or fp32")):
        if is_so:
            raise UserError(f"--shard does not go together with this run: {what}")


WIDTH = 128             # of the model for which the learning rates of the methods were chosen


def own_rate(cfg: Train, origin: dict, model: GPT) -> None:
    """Without --lr, a model of other people or of another width gets another rate than the base. Says so."""
    width, old = model.cfg.n_embd, cfg.lr
    rate = old * WIDTH / width * (10 if cfg.lora else 1)        # LoRA's thin matrices want ten times as much
    if not cfg.resume and cfg.init != "base" and origin["lr"] != "command line" and rate != old:
        cfg.lr, origin["lr"] = rate, f"{origin['lr']}, for width {width}"
        print(f"note: --lr {rate:.2g}, since {old:g} was chosen for a width of {WIDTH}, and this model has {width}"
              f"{'; LoRA wants ten times as much' * bool(cfg.lora)}. Try {rate / 3:.1g} to {rate * 3:.1g}")


def adapted(cfg: Train, hp, model: GPT, tok: Tokenizer, dtype: torch.dtype) -> GPT:
    """`model`, with --lora or --checkpointing where it is one of transformers. Says which chat template is used."""
    if hasattr(model, "add_lora"):                              # a model of transformers
        if cfg.freeze == "half":
            raise UserError("--freeze half knows the layers of nanouft's own GPT only; drop it, or use --lora")
        if cfg.checkpointing:
            model.checkpoint()
        if cfg.lora:
            model.add_lora(cfg.lora, cfg.seed)
        if getattr(hp, "detach_embeddings", False) and len(model.tables()) == 2:
            model.wte.requires_grad_(False)                     # a head of its own: torchrun would wait for a gradient
        if cfg.lora:
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            model.keep_frozen_in(dtype)
            print(f"LoRA of rank {cfg.lora}: {trained / 1e6:.2f}M of {model.n_params() / 1e6:.2f}M weights are trained")
        if getattr(model.net.config.get_text_config(), "output_router_logits", False):
            print("note: the loss of its routers (output_router_logits) is left out")
    if tok.about:
        print(visible(tok.about))
    return model


# ---- rows ------------------------------------------------------------------------------------------------------------
def load_rows(cfg: Train, objective: Objective, hp, device: str = "cpu") -> tuple[list[Row], list[Row]]:
    """(rows to train on, rows held out): from the user's files, or drawn from NanoWorld; graded by --reward where the
    method learns from grades."""
    kinds, graded = objective.kinds(hp), list
    if cfg.reward != "exact" and {"scores", "labels"} & set(kinds):
        from nanouft.training import curate
        graded = partial(curate.graded, kinds=kinds, reward=cfg.reward, device=device)
    if not cfg.data:
        from nanouft.training import nanoworld  # only where rows come from there
        train, held = nanoworld.drawn_rows(cfg, kinds)
        return graded(train), graded(held)
    rows, held = map(graded, read_files(cfg, kinds))
    examples = objective.rows(rows, hp)         # what the objective lacks is said of the whole file, before the split
    for what, known in (("label", {e.label for e in examples}), ("score", {e.score for e in examples})):
        if known != {None} and len(known) == 1:
            print(f"note: every answer has the same {what}: there is nothing to tell good from bad by")
    if kinds == ["pairs"] and (equal := len([r for r in rows if r.chosen and r.rejected]) - len(examples)):
        print(f"{equal:,} pairs skipped: chosen equals rejected")
    from nanouft import world
    if ours := world.named(rows):               # answers to NanoWorld's prompts, as rollout/harvest.py writes them
        return ours, world.named(held) or held or graded(world.mixed_rows("val", kinds, 200, 0))
    return held_apart(cfg, objective, rows, held)


def read_files(cfg: Train, kinds: list[str]) -> tuple[list[Row], list[Row]]:
    """The rows of --data and those of --eval-data. Says what was read."""
    from nanouft.data.read import read  # only where there are files to read
    how = (cfg.prompt_field, cfg.response_field, kinds == ["prompts"], cfg.strict, cfg.grades, cfg.reward)
    (rows, found), (held, more) = read(cfg.data, *how), read(cfg.eval_data, *how) if cfg.eval_data else ([], [])
    print(*found, *more, sep="\n")
    if len({file.scale for file in (*found, *more)} - {(0, 1)}) > 1:
        raise UserError("the files have grades on different scales; give one for all of them, as --grades 1:5")
    return rows, held


def held_apart(cfg: Train, objective: Objective, rows: list[Row], held: list[Row]) -> tuple[list[Row], list[Row]]:
    """(rows to train on, rows held out) of the user's own world: those of --eval-data, else a tenth."""
    if objective.on_policy and objective.rewarded and cfg.reward == "exact":
        from nanouft.rollout.scorer import NO_EXACT
        raise UserError(NO_EXACT)
    if cfg.init == "base":
        print("note: the shipped base has read nothing but NanoWorld: fine to try a command; for real use give another "
              "--init (python -m nanouft.pretrain --corpus my.txt --out out/mine makes one)")
    if objective.on_policy and cfg.reward == "exact":           # nobody scores answers, so no row is held out for it
        return rows, []
    train, held = (rows, held) if cfg.eval_data else holdout(rows)
    if not held:
        print("note: no row is held out, since rows with one prompt stay together: there will be no held-out figures")
    return train, held


def curated(rows: tuple[list[Row], list[Row]], cfg: Train, judges: list[str],
            device: Device) -> tuple[list[Row], list[Row]]:
    """The rows to train on as --keep asks; the rows held out stay."""
    train, held = rows
    if cfg.keep < 1:
        from nanouft.training.curate import curate
        train = curate(train, cfg, judges, device)
    return train, held


# ---- models that must be trained first -------------------------------------------------------------------------------
FIRST = Path("out/.first")
SAME = ("init", "data", "prompt_field", "response_field", "strict", "rows", "skills", "mix", "noise", "seed")
OF_WORLD = ("rows", "skills", "mix", "noise")  # settings that mean nothing with --data


def prerequisite_runs(wanted: Prerequisite, cfg: Train) -> list[tuple[Path, list[str]]]:
    """[(folder, command line of train)]: the folder's name is a hash of the command, the start model and the data."""
    if cfg.data and not wanted.inherits:
        raise UserError(f"{flag(wanted.setting)} DIR ... is needed with --data: the folders of models that "
                        "know such answers; only for NanoWorld can one be made")
    given = {}
    for name in ("dtype", *(SAME if wanted.inherits else ())):
        value = getattr(cfg, name)
        if value and value != "auto" and not (cfg.data and name in OF_WORLD):
            given[flag(name)] = value
    argv = as_words(given, [])
    start = folder_of(cfg.init if wanted.inherits else "base")
    files = sorted(start.glob("model*.safetensors"))
    if cfg.data:
        from nanouft.data.containers import parts
        files += parts(cfg.data)
    commands = [[*shlex.split(flags), *argv] for flags in wanted.commands]
    return [(FIRST / f"{wanted.setting}-{checksum(repr(c), *files)[:16]}", c) for c in commands]


# ---- tokens and columns ----------------------------------------------------------------------------------------------
@dataclass
class Data:
    """The rows of a run as its objective wants them, in tokens."""
    tok: Tokenizer
    train: list[Encoded]
    held: list[Encoded]
    train_rows: list[Row]
    held_rows: list[Row]
    key: str                            # hash of rows and start weights: --resume goes on only where both are the same


def encode_rows(name: str, cfg: Train, hp, rows: tuple[list[Row], list[Row]], model: GPT, tok: Tokenizer) -> Data:
    """Says what was read and shows one example. UserError if nothing fits into the context."""
    objective, (train_rows, held_rows) = OBJECTIVES[name], rows
    room = min(cfg.max_length or model.cfg.n_ctx, model.cfg.n_ctx)
    room -= 1 + cfg.max_new if objective.on_policy else 0       # an answer must fit after the prompt
    if room < 1:
        raise UserError(f"--max-new {cfg.max_new}: leaves no room for a prompt in the context or --max-length")
    examples = objective.rows(train_rows, hp)
    train, lost = encode(examples, tok, room)
    held = encode_held(objective, hp, held_rows, tok, room)
    kinds = objective.kinds(hp)
    needs = ' + '.join(kinds)
    if objective.on_policy and len(examples) < len(train_rows):
        needs += f"; {len(train_rows) - len(examples):,} rows repeat the prompt of an earlier row, which alone counts"
    print("\n".join([f"{len(train):,} of {len(train_rows):,} rows serve {name} (it needs {needs}); "
                     f"{len(held)} of {len(held_rows)} rows held out do, too"
                     + " (a pair counts as two answers)" * (len(train) > len(train_rows)),
                     *[contents(train_rows)] * (len(kinds) > 1), *lost.lines(room, cfg.max_length),
                     report.example(train, tok)]))
    return Data(tok, train, held, train_rows, held_rows, runs.fingerprint(model, train))


def write_columns(data: Data, objective: Objective, hp, cfg: Train, model: GPT, device: Device) -> None:
    """What other models have to say about the rows (reference.py)."""
    columns = objective.columns
    if objective.on_policy:                         # the answers are not there yet: rollouts.measure writes theirs
        columns = ()
    elif objective.kinds(hp) != ["demos"]:          # answers are compared: log how far the run goes from its start
        columns = tuple(dict.fromkeys((*columns, REF)))
    add_columns(data.train, columns, model, data.tok.pad, device, hp)
    if REF in columns:
        add_columns(data.held, (REF,), model, data.tok.pad, device)
    if objective.arrange:
        data.train = objective.arrange(data.train, cfg.seed)


# ---- the run ---------------------------------------------------------------------------------------------------------
@dataclass
class Run:
    name: str                                   # of the objective
    cfg: Train
    hp: object
    device: Device
    folder: Path
    source: Callable[[int], Batch]              # source(step) -> the batch of that step
    look_held: Callable[[], dict] | None        # figures on the rows that are held out
    look_reward: Callable[[], dict] | None = None       # off-policy with --reward: what greedy answers to them earn

    @property
    def save_every(self) -> int:
        """--save-every, rounded up to whole rollouts: a run cannot go on from within one."""
        return math.ceil(self.cfg.save_every / self.source.stride) * self.source.stride

    def batch(self, step: int, save: Callable[[int], None]) -> Batch:
        """The rows of a step. If a reward fails, the steps that are done are saved first."""
        try:
            return self.source(step)
        except UserError as e:
            if step and self.save_every and self.device.processes == 1 and not isinstance(e, Diverged):
                save(step)
                e.args = (f"{e}; {self.folder} holds step {step}; go on with --resume {self.folder}",)
            raise

    def loop_steps(self, steps: Iterable[int], save: Callable[[int], None]) -> Iterator[int]:
        """`steps`, up to the one after which a signal ends the loop. It saves what is done, but not with several
        processes."""
        saves = self.save_every > 0 and self.device.processes == 1
        return loop_steps(steps, save if saves else None, self.source.stride)


@contextlib.contextmanager
def open_run(name: str, cfg: Train, hp, origin: dict, data: Data, model: GPT, device: Device) -> Iterator:
    """(number of optimizer steps, the run): its folder, in which nobody else works, and where its steps come from."""
    objective, tok = OBJECTIVES[name], data.tok
    if not objective.on_policy and origin.get("batch_size") == "command line" and cfg.batch_size > len(data.train):
        raise UserError(f"--batch-size {cfg.batch_size:,}: there are {len(data.train):,} rows only, so a step would "
                        "hold rows twice")
    steps = cfg.optimizer_steps(len(data.train), hp.passes if objective.on_policy else 1)
    key, look_reward = data.key, None
    if cfg.reward != "exact":
        from nanouft.rollout import best_of, scorer
        rows = data.train_rows + data.held_rows
        scorer.try_out(cfg.reward, rows, objective.graded)
        if not objective.on_policy and data.held_rows:
            score = scorer.scorer(cfg.reward, device.name)
            said = partial(best_of.rewarded, model, tok, data.held_rows, score, max_new=cfg.max_new)

            def look_reward() -> dict:
                return scorer.figures(*said())
        key += scorer.mark(cfg.reward, rows)
    about = {"command": "train", "objective": name, "steps": steps, "config": asdict(cfg), "hp": asdict(hp),
             "from": origin, "tokenizer": tok.name, "torch": torch.__version__,
             "device": f"{device.name} {device.dtype} x {device.processes}", "threads": torch.get_num_threads(),
             "held_out_rows": [] if cfg.eval_data else [r.where for r in data.held_rows if not r.family], "key": key}
    given = {k: v for k, v in {**asdict(cfg), **asdict(hp)}.items() if origin.get(k) == "command line"}
    basis = "the data, the start model, the reward or the version of nanouft"
    with runs.open_folder(cfg, about, name, basis, device, {"objective": name, **given}) as folder:
        if objective.on_policy:
            from nanouft.rollout import rollouts
            source = rollouts.Rollouts(data.train, objective, hp, cfg, steps, model, tok, device)
            look_held = partial(source.held_out, data.held)
            each = f"prompts x {hp.samples} samples"
            each += f" (a rollout serves {source.stride} steps)" if source.stride > 1 else ""
        else:
            source, each = Epochs(data.train, cfg.batch_size, steps, cfg.seed, tok.pad), "rows"
            look_held = partial(held_out, model, data.held, tok.pad, device)
        print(f"{name}: {steps:,} steps of {cfg.batch_size} {each}, lr {cfg.lr:g}, {model.n_params() / 1e6:.2f}M "
              f"parameters, {device.name} {device.dtype} x {device.processes} -> {folder}")
        yield steps, Run(name, cfg, hp, device, folder, source, look_held if data.held else None, look_reward)
