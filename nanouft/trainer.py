"""Train on several GPUs and machines: an objective inside the Trainer of transformers.

    torchrun --nproc_per_node 2 -m nanouft.trainer dpo --data my.jsonl --init out/sft --bf16

The first word is the method. Its settings and the flags of OURS mean what they mean in
nanouft.train; all others are transformers' TrainingArguments (--help all). Every process makes the
whole step and takes its own micro-batches, so each knows the totals that a loss is divided by.
"""
import argparse
import math
import re
import sys
import traceback
from collections import defaultdict
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from nanouft import device
from nanouft.data.batches import Batching, Encoded, RowSource, collate, encode
from nanouft.models.folders import hash_of_weights, save_model
from nanouft.objective import Objective
from nanouft.objectives import find
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, flag, library, out_of_memory
from nanouft.plumbing.files import as_json, read_json, write_json
from nanouft.plumbing.printing import SILENT, quoted, say
from nanouft.plumbing.seeds import seed_globals, step_seed
from nanouft.run import flags, folder, load
from nanouft.run.checkpoint import check_finite
from nanouft.run.config import RunConfig
from nanouft.run.hyperparameters import warmup_cosine
from nanouft.run.plan import describe, headline, settle
from nanouft.run.reference import FrozenModels, Numbers

transformers: Any = library("transformers", "nanouft.trainer")
accelerate: Any = library("accelerate", "nanouft.trainer")
DEFAULTS = dict(learning_rate=None, per_device_train_batch_size=None, num_train_epochs=None,
                max_steps=None, eval_strategy=None, warmup_steps=RunConfig.warmup, adam_beta2=0.95,
                lr_scheduler_type="cosine", optim="adamw_torch_fused", seed=RunConfig.seed,
                logging_steps=1, report_to="none", ddp_find_unused_parameters=False)   # None: ours
LORA = ("lora", "lora_alpha", "lora_targets")
OURS = ("data", "eval_data", "max_length", "init", "rows", "skills", "mix", "noise", *LORA)
RECORD = "nanouft.json"                     # in a checkpoint: what its run learns from


class SharedModels(FrozenModels):
    """Each process reads its part of the rows, and all get all log-probs."""
    def logps(self, data: list[Encoded], *more: Any, **named: Any) -> Numbers:
        with accelerate.PartialState().split_between_processes(data) as mine:
            return accelerate.utils.gather_object(super().logps(mine, *more, **named))


def check(objective: Objective, args: Any, held: list[Encoded] | None = None) -> None:
    """UserError for what would be trained wrongly."""
    if args.label_smoothing_factor:
        raise UserError("label_smoothing_factor: is not used here; the method computes the loss")
    if args.n_gpu > 1:
        raise UserError(f"{args.n_gpu} GPUs: start with torchrun --nproc_per_node {args.n_gpu}")
    if objective.on_policy or objective.coupled and not objective.reads_sums:
        raise UserError(f"{objective.name}: its loss is no sum over given rows; use nanouft.train")
    if objective.coupled and args.gradient_accumulation_steps > 1:
        raise UserError(f"{objective.name}: needs a whole step: gradient_accumulation_steps 1")
    if held and len(held) < args.world_size:
        raise UserError(f"{len(held)} held-out rows: give each process at least one")


class Trainer(transformers.Trainer):
    """`data` and `held`: rows to learn from and held-out rows, after SharedModels.prepare."""
    lr_scheduler: Any
    control: Any

    def __init__(self, model: Any, objective: Objective, data: list[Encoded], pad: int, args: Any,
                 held: list[Encoded] | None = None, **more: Any):
        check(objective, args, held)
        objective.setup(model, args.seed)       # before the optimizer asks which weights learn
        model._no_split_modules = [*{type(block).__name__ for block in device.blocks_of(model)}]
        self.objective, self.data, self.pad = objective, data, pad
        self.held: Any = collate(held, range(len(held)), pad) if held else None
        self.source: RowSource | None = None
        self.sums, self.steps = defaultdict[str, Any](float), 0     # of metrics, since the last log
        self.named, self.learns = set[str](), dict[str, Any]()  # metrics not finite; for RECORD
        self.rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        counted = range(math.ceil(len(data) / self.rows) * self.rows)   # whole steps in each epoch
        super().__init__(model, args, train_dataset=counted, eval_dataset=held or None, **more)
        dtype = self.accelerator.mixed_precision.replace("no", "fp32")
        self.precision = device.Device(args.device.type, dtype)
        self.model_accepts_loss_kwargs = True   # it adds up micro-batches' losses, without a mean

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """A cosine is that of nanouft.train: transformers' begins at rate 0."""
        if self.lr_scheduler is None and self.args.lr_scheduler_type == "cosine":
            warmup, n = self.args.warmup_steps, num_training_steps  # a share of them, or a number
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                optimizer or self.optimizer,
                warmup_cosine(1.0, n, warmup if warmup < 1 else warmup / n))
            self._created_lr_scheduler = True   # train() makes a new one each time
        return super().create_scheduler(num_training_steps, optimizer)

    def get_batch_samples(self, iterator: Any, number: int, device: Any) -> tuple[list, Any]:
        """This process's micro-batches of a step. The Trainer's own batches count the steps."""
        step, n = self.state.global_step, self.accelerator.num_processes
        if self.source is None:
            steps = Batching(self.rows, self.state.max_steps, self.args.seed)
            self.source = RowSource(self.data, steps, self.pad)
        seed_globals(step_seed(self.args.seed, step))
        whole, self.steps = self.source(step), self.steps + 1
        return [{"batch": whole.micro_batch(i, number * n).to(device)}
                for i in range(self.accelerator.process_index, number * n, n)], whole.n

    def compute_loss(self, model: Any, inputs: dict, *more: Any, **others: Any) -> torch.Tensor:
        """Times the number of processes, because their gradients are averaged."""
        batch, inner = inputs["batch"], self.accelerator.unwrap_model(model)
        own_forward = inner.forward

        def forward() -> list[torch.Tensor]:    # in it, DDP and FSDP hold all weights ready
            self.objective.forward(device.Called(inner, own_forward), batch)
            return [s.logp for s in batch.seqs.values()]
        inner.forward = forward
        with self.precision.autocast():         # accelerate's is around the model's forward alone
            model()
        inner.forward = own_forward
        loss, metrics = self.objective.loss(batch)
        for name, value in {"loss": loss, **metrics}.items():
            self.sums[name] += torch.as_tensor(value).detach()
        return loss * self.accelerator.num_processes

    def added_up(self) -> dict[str, float]:
        """The sums of this process plus those of all others; some may lack a metric."""
        every = accelerate.utils.gather_object([{name: float(x) for name, x in self.sums.items()}])
        return {name: sum(one.get(name, 0.0) for one in every)
                for name in dict.fromkeys(name for one in every for name in one)}

    def log(self, logs: dict, *more: Any) -> None:
        """The loss and the objective's metrics, as means over the steps since the last log."""
        if "loss" in logs:
            logs |= {name: x / self.steps for name, x in self.added_up().items()}
            self.sums, self.steps = defaultdict(float), 0
        check_finite(logs | {"grad_norm": None}, self.state.global_step, self.named)
        super().log(logs, *more)

    @torch.no_grad()
    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **more: Any) -> dict:
        """All held-out rows as one step: its loss and metrics, as eval_loss, eval_margin ..."""
        held, n, of_training = self.held, self.args.world_size, self.sums
        turns = min(held.n // n, math.ceil(held.n / n / self.args.per_device_eval_batch_size))
        parts = n * (1 if self.objective.coupled else turns)
        self.sums = defaultdict(float)
        self.model.eval()
        for i in range(self.args.process_index, parts, n):
            part = held.micro_batch(i, parts).to(self.args.device)
            self.compute_loss(self.model, {"batch": part})
        found = {f"{metric_key_prefix}_{name}": x for name, x in self.added_up().items()}
        self.sums = of_training
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint. safetensors refuses two names of one tensor, as of a tied head."""
        named = state_dict or self.model.state_dict()
        super()._save(output_dir, {name: w.clone() for name, w in named.items()})
        write_json(Path(output_dir or self.args.output_dir, RECORD), self.learns)

    def save(self, out: str | Path, tok: Any) -> None:
        """The folder that nanouft.train leaves, with whole weights. All processes call it."""
        model: Any = self.accelerator.unwrap_model(self.model)
        named = (self.accelerator.get_state_dict(self.model) if self.is_deepspeed_enabled
                 else dict(model.named_parameters()))
        whole = {f"model.{x}": getattr(w, "full_tensor", w.detach)() for x, w in named.items()}
        if self.is_world_process_zero():
            module: Any = torch.nn.Module()     # whose call is to save, with whole weights
            module.model, module.forward = model, lambda: save_model(Path(out), model, tok)
            torch.func.functional_call(module, whole, ())
        self.accelerator.wait_for_everyone()


def read_flags(argv: list[str]) -> tuple[RunConfig, Any]:
    """(the run as nanouft.train has it, transformers' arguments). In the run a step has the rows,
    and the micro-batches, of all processes together."""
    name = argv[0] if argv and not argv[0].startswith("-") else ""
    if not name and "--help" not in argv:
        raise UserError("the first word is the method, as in python -m nanouft.trainer dpo --help")
    cls, theirs = find(name) if name else Objective, transformers.TrainingArguments
    both: Any = type("Both", (flags.Parser, transformers.HfArgumentParser), {})
    parser = both(prog="nanouft.trainer", dataclass_types=theirs, description=flags.narrow(__doc__))
    parser.set_defaults(**DEFAULTS, output_dir=f"out/{Path(name).stem}")
    for action in parser._actions[1:]:
        action.help = action.help if "all" in argv else argparse.SUPPRESS
    flags.add_flags(parser, RunConfig, "", only=OURS)
    flags.add_flags(parser, cls, name)
    values = vars(parser.parse_args(argv[bool(name):]))
    if values["eval_strategy"] is None and ("eval_data" in values or values["do_eval"]):
        values["eval_strategy"] = "epoch"
    given = {f.name: x for f in fields(theirs) if (x := values.pop(f.name, None)) is not None}
    metric = given.get("metric_for_best_model", "loss")
    if not metric.endswith("loss") and "greater_is_better" not in given:    # nll: the lowest
        raise UserError(f"--metric_for_best_model {metric}: add --greater_is_better true or false")
    if not (given.get("resume_from_checkpoint") or SILENT):     # once, in the first process
        folder.check_free(given["output_dir"], "--output_dir")
    args = theirs(**given)                      # from here the processes know one another
    check(cls(), args)
    rows, turns = given.get("per_device_train_batch_size"), args.gradient_accumulation_steps
    cfg = replace(RunConfig.made(name, cls, {"objective": name} | values), seed=args.seed,
                  lr=given.get("learning_rate"), steps=given.get("max_steps"), accumulate=turns,
                  batch_size=rows and rows * turns * args.world_size,
                  epochs=given.get("num_train_epochs"),
                  plain=args.eval_strategy == "no" and not args.eval_on_start).checked()
    return replace(cfg, accumulate=turns * args.world_size), args


def run(argv: list[str]) -> None:
    """Train, and save the model in --output_dir."""
    cfg, args = read_flags(argv)
    objective = cfg.objective()
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"
    here, rows = device.choose_device(str(args.device), precision), load.load_rows(cfg, objective)
    model, tok = load.open_model(cfg, objective, here)
    if (first := objective.first_models) and getattr(objective, first.setting) is None:
        raise UserError(flag(first.setting), ": give the folders of trained models")
    cfg, objective, of_run = settle(cfg, objective, rows, model, tok)
    args.learning_rate, args.max_steps = cfg.lr, cfg.steps
    args.per_device_train_batch_size = math.ceil(cfg.batch_size / cfg.accumulate)
    cfg = replace(cfg, batch_size=args.per_device_train_batch_size * cfg.accumulate)
    about, held = describe(cfg, objective, of_run, tok, here), of_run.held_out
    learns = as_json({x: {**about["config"], **about}[x] for x in (
        "objective", "hp", "inputs", "steps", "batch_size", "lr", "seed", *LORA)})
    same = f"{learns} {argv} {hash_of_weights(model)}"
    if len({*accelerate.utils.gather_object([same])}) > 1:
        raise UserError("the processes have different rows, initial models or flags: give all the "
                        "same (and accelerate's cpu_ram_efficient_loading: false)")
    checkpoint = args.resume_from_checkpoint
    if checkpoint and (file := Path(checkpoint, RECORD)).is_file() and read_json(file) != learns:
        raise UserError(f"{checkpoint}: is of other data, settings or another initial model")
    say(headline(cfg, objective, of_run, model, here))
    models = SharedModels(model.to(here.name), tok.pad, here, tok=tok)
    if held and objective.coupled:              # kto's held-out rows borrow answers, too
        held, _ = encode(objective.choose([e.row for e in held]), tok, model.cfg.n_ctx)
    data, held = (x and models.prepare(x, objective, cfg.seed) for x in (of_run.train, held))
    trainer = Trainer(model, objective, data, tok.pad, args, held)
    trainer.learns = learns
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.save(args.output_dir, tok)
    say(f"\nTalk to it: python -m nanouft.sample {quoted(args.output_dir)}")


def main(argv: list[str] | None = None) -> int:
    """What the libraries refuse is one line as well, such as a logger that is not installed."""
    try:
        run(sys.argv[1:] if argv is None else argv)
    except Exception as e:
        file = traceback.extract_tb(e.__traceback__)[-1].filename
        if out_of_memory(e) or not re.search(r"[\\/](transformers|accelerate)[\\/]", file):
            raise
        raise UserError(" ".join(str(e).split())) from None
    return 0


if __name__ == "__main__":
    sys.exit(command(main, needs_less="give --gradient_checkpointing, or --lora"))
