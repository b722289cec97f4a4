"""Any objective in transformers' Trainer: several GPUs and machines, loggers, checkpoints.

    trainer = Trainer(model, OBJECTIVES["dpo"](), data, tok.pad, args)  # args: its arguments
    trainer.train()
    trainer.save("out/dpo", tok)                # torchrun --nproc_per_node 2 this.py

The rows of each step are those of nanouft.train (data/batches.RowSource), so its weights come out:
bit for bit in one process, up to rounding in several. Every process makes the whole step and takes
its own micro-batches. So each knows the totals that a loss is divided by, and their losses add up.
"""
import math
import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from nanouft.data.batches import Batching, Encoded, RowSource, collate
from nanouft.gpt import GPT
from nanouft.loop import VALUE_TIMES, warmup_cosine
from nanouft.models.folders import save_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.distributed import split_over_processes
from nanouft.plumbing.errors import UserError, library
from nanouft.plumbing.files import as_json
from nanouft.plumbing.printing import quantity, say
from nanouft.plumbing.seeds import seed_globals, step_seed
from nanouft.rollout import Rollouts
from nanouft.run.checkpoint import check_finite
from nanouft.run.device import blocks_of

transformers: Any = library("transformers", "nanouft.trainer")
# arguments of transformers' Trainer that would do nothing here, or change another loss
NOT_READ = {"label_smoothing_factor": "the objective is the loss",
            "neftune_noise_alpha": 'OBJECTIVES["neftune"] is that method',
            "use_liger_kernel": "it replaces layers that nanouft calls one by one",
            "compute_metrics": "the objective's metrics are logged as eval_...",
            "preprocess_logits_for_metrics": "no logits are kept",
            "compute_loss_func": "the objective is the loss",
            "train_sampling_strategy": "rows come in nanouft.train's order, by length in pools",
            "data_seed": "--seed draws the order of the rows, too",
            "auto_find_batch_size": "the batch size is the one you give",
            "include_num_input_tokens_seen": "tokens are not counted",
            "cpu_ram_efficient_loading": "each process opens the whole model",
            "deepspeed": "FSDP2 shards a model here (--fsdp true; not run on a GPU yet)"}
# the other door of some: accelerate's configuration becomes the environment
ENVIRONMENT = {"deepspeed": "ACCELERATE_USE_DEEPSPEED",
               "cpu_ram_efficient_loading": "FSDP_CPU_RAM_EFFICIENT_LOADING"}

HIGHER = {"accuracy", "margin", "logp_chosen", "logp_good"}     # metrics of which more is better


def greater_is_better(metric: str) -> bool | None:
    """Whether more of a metric is better: of a loss, an NLL or a KL less is. None if its name does
    not say. transformers asks only whether it ends in "loss"."""
    name = metric.removeprefix("eval_")
    if name.endswith("loss") or name == "k" or name.split("_")[0] in ("nll", "kl"):
        return False
    return True if name in HIGHER else None


def check_unread(args: Any, more: dict[str, Any] | None = None) -> None:
    """UserError if something of NOT_READ is given, by whichever door."""
    for name, why in NOT_READ.items():
        usual = getattr(transformers.TrainingArguments, name, None)     # the default
        in_environment = os.environ.get(ENVIRONMENT.get(name, ""), "").lower() in ("true", "1")
        in_args = (more or {}).get(name) or getattr(args, name, usual) not in (usual, False)
        if in_environment or in_args:
            raise UserError(f"{name}: is not supported here; {why}")
    precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision != "no" and not (getattr(args, "bf16", False) or getattr(args, "fp16", False)):
        raise UserError(f"ACCELERATE_MIXED_PRECISION={precision}: is ignored here; give --bf16 "
                        "or --fp16")


def check(model: Any, objective: Objective, rows: list[Encoded], args: Any,
          more: dict[str, Any]) -> None:
    """UserError for settings that make no sense, are not read here, or make the loss wrong. A line
    if the worst checkpoint would be kept as the best."""
    objective.check()
    if not isinstance(model, GPT):
        raise UserError(f"a {type(model).__name__} has no log-probs of tokens: open its folder "
                        "with nanouft.models.folders.start_model (with LoRA: lora=True and "
                        "model.add_lora)")
    check_unread(args, more)
    if args.n_gpu > 1:
        raise UserError("several GPUs need a process each: start with torchrun --nproc_per_node "
                        f"{args.n_gpu}, or use one GPU (CUDA_VISIBLE_DEVICES=0)")
    check_parts(objective, args)
    check_rows(model, objective, rows)
    if objective.on_policy:
        check_sampling_settings(objective, args, more)
    best = args.metric_for_best_model
    if best and args.greater_is_better and greater_is_better(best) is False:
        say(f"{best}: the highest counts as the best; for the lowest give greater_is_better=False")


def check_rows(model: GPT, objective: Objective, rows: list[Encoded]) -> None:
    """UserError unless these rows fit, and have the log-probs of the initial model."""
    if longest := next((e for e in rows if e.length > model.cfg.n_ctx + 1), None):
        raise UserError(f"a row has {longest.length:,} tokens, and the model's context has "
                        f"{model.cfg.n_ctx:,}: give that number to nanouft.data.batches.encode")
    if objective.reference and not objective.on_policy and any(
            s.ref_logp is None for e in rows for s in e.seqs.values()):
        raise UserError("the reference's log-probs are missing: call FrozenModels.prepare first")


def check_parts(objective: Objective, args: Any) -> None:
    """UserError if a step is taken in parts, and the loss of a row reads rows of all parts. A sum
    over them may come from all processes (Batch.across), but not from parts in turn."""
    if objective.coupled and args.gradient_accumulation_steps > 1:
        raise UserError(f"{objective.name}: gradient_accumulation_steps is not supported, because "
                        "the loss of a row uses the log-probs of other rows")
    if objective.coupled and args.world_size > 1 and not objective.reads_sums:
        raise UserError(f"{objective.name}: give one process, because the gradient of a row's loss "
                        "flows through the log-probs of other rows, and no process has them all")


def check_sampling_settings(objective: Objective, args: Any, more: dict[str, Any]) -> None:
    """UserError for what does not go with answers that are sampled."""
    steps = objective.minibatches * objective.passes        # of a rollout
    if not more["source"]:
        raise UserError("this method learns from its own samples: give source=Rollouts(...)")
    if more["held"]:
        raise UserError("held: is not supported for a method that samples; it logs its rewards")
    if steps > 1 and args.save_strategy != "no" and (
            args.save_strategy != "steps" or args.save_steps % steps):
        raise UserError(f"save_steps: a rollout has {steps} steps, and only whole ones are saved; "
                        f"give save_strategy steps, and a number that {steps} divides")


class Trainer(transformers.Trainer):
    """`data` and `held`: rows to learn from and held-out rows, after FrozenModels.prepare. `source`
    gives the steps of a method that samples; then `data` are its prompts. `more` goes to
    transformers' Trainer. UserError, before the first step, if something cannot be trained in this
    way."""
    objective: Objective
    model: Any
    lr_scheduler: Any

    def __init__(self, model: Any, objective: Objective, data: list[Encoded], pad: int, args: Any,
                 held: list[Encoded] | None = None, source: RowSource | Rollouts | None = None,
                 **more: Any):
        self.held, self.source = held or [], source
        read = source.rows_read() if isinstance(source, RowSource) else data
        check(model, objective, [*read, *self.held] if data else [], args,
              {**more, "held": held, "source": source})
        self.objective, self.pad, self.data = objective, pad, data
        objective.setup(model, args.seed)       # before the optimizer asks which weights learn
        model._no_split_modules = [*{type(block).__name__ for block in blocks_of(model)}]   # FSDP
        self.sums: dict = defaultdict(float)    # of the objective's metrics, since the last log
        self.steps = 0                          # since then
        self.named: set[str] = set()            # metrics that were not finite
        self.rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        args.remove_unused_columns = False
        counted = range(math.ceil(len(data) / self.rows) * self.rows)   # whole steps in each epoch
        super().__init__(model, args, train_dataset=counted,
                         eval_dataset=range(len(self.held)) if held else None,
                         data_collator=lambda picked: {"picked": torch.tensor(picked)}, **more)
        if args.fsdp or self.is_fsdp_enabled:
            self.check_shards()
        self.model_accepts_loss_kwargs = True   # it adds up micro-batches' losses, without a mean
        if held:
            self.whole = replace(collate(held, range(len(held)), pad),
                                 across=self.accelerator.reduce)
            processes = self.args.world_size
            if len(held) < processes:
                raise UserError(f"held: {quantity(len(held), 'rows')} for {processes} processes; "
                                "give at least one for each")
            each = processes * self.args.per_device_eval_batch_size
            turns = min(len(held) // processes, math.ceil(len(held) / each))    # of each process
            self.parts = processes * (1 if objective.coupled else turns)    # of the step of all

    def check_shards(self) -> None:
        """UserError for what a model in shards cannot do here. FSDP2 has not run on a card."""
        if not self.is_fsdp_enabled:
            raise UserError("fsdp: needs several processes, one for each GPU: start with torchrun")
        plugin = self.accelerator.state.fsdp_plugin
        if self.objective.on_policy:
            raise UserError("fsdp: a sharded model cannot sample here; remove it, or use TRL")
        if plugin.fsdp_version != 2:
            raise UserError('fsdp: only FSDP2 is supported; give --fsdp_config \'{"version": 2}\', '
                            "or fsdp_version: 2 in accelerate's configuration")
        if self.args.load_best_model_at_end and "SHARDED" in str(plugin.state_dict_type):
            # transformers looks for the best checkpoint before these are written
            raise UserError("load_best_model_at_end: needs checkpoints that are not sharded; set "
                            "fsdp_state_dict_type: FULL_STATE_DICT in accelerate's configuration")

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """A value head (PPO) learns faster, as by loop.make_optimizer."""
        made, head = self.optimizer, self.model.value
        optimizer = super().create_optimizer(model)
        if made is None and head is not None:
            for group in optimizer.param_groups:
                group["params"] = [p for p in group["params"] if p not in {*head.parameters()}]
            optimizer.add_param_group({"params": [*head.parameters()], "weight_decay": 0.0,
                                       "lr": VALUE_TIMES * self.args.learning_rate})
        return optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """A cosine is that of nanouft.train. transformers' begins at rate 0 (5.23,
        optimization.py:138), so that its first step changes nothing."""
        warmup = self.args.warmup_steps         # a share of the steps, or their number
        if self.lr_scheduler is None and self.args.lr_scheduler_type == "cosine":
            share = warmup if warmup < 1 else warmup / num_training_steps
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer,
                                         warmup_cosine(1.0, num_training_steps, share))
            self._created_lr_scheduler = True   # train() makes a new one each time
        return super().create_scheduler(num_training_steps, optimizer)

    def get_batch_samples(self, iterator: Any, number: int, device: Any) -> tuple[list, Any]:
        """This process's micro-batches of a step, and how many rows the step has. The Trainer's own
        batches only count the steps."""
        step, processes = self.state.global_step, self.accelerator.num_processes
        if self.source is None:
            batching = Batching(self.rows, self.state.max_steps, self.args.seed)
            self.source = RowSource(self.data, batching, self.pad)
        seed_globals(step_seed(self.args.seed, step))
        whole = replace(self.source(step), across=self.accelerator.reduce)
        for name, value in self.source.stats.items():       # the same in all processes
            self.sums[name] += value / processes
        self.steps += 1
        parts = number * processes
        mine = range(self.accelerator.process_index, parts, processes)
        return [{"batch": whole.micro_batch(i, parts).to(device)} for i in mine], whole.n

    def compute_loss(self, model: Any, inputs: dict, return_outputs: bool = False,
                     num_items_in_batch: Any = None) -> Tensor:
        batch = inputs["batch"]
        self.objective.forward(model, batch)
        loss, metrics = self.objective.loss(batch)
        for name, value in metrics.items():
            self.sums[name] += value
        return loss * self.accelerator.num_processes        # it averages over processes

    def log(self, logs: dict, *more: Any) -> None:
        """The loss, and the objective's metrics as means over the steps since the last log."""
        if "loss" in logs:
            logs |= {name: x / self.steps for name, x in self.added_up(self.sums).items()}
            self.sums, self.steps = defaultdict(float), 0
        if self.args.fp16 and not math.isfinite(logs.get("grad_norm", 0)):
            logs["grad_norm"] = None        # too large for fp16: the step was left out
        check_finite(logs, self.state.global_step, self.named)
        super().log(as_json(logs), *more)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Deals out numbers of micro-batches. All held-out rows together are one step."""
        if not self.held or eval_dataset not in (None, self.eval_dataset):
            raise UserError("evaluate: only rows that the Trainer was given as held= can be "
                            "evaluated" + ("" if self.held else ", and there are none"))
        if self.is_fsdp_enabled and not self.state.max_steps:
            raise UserError("evaluate: with FSDP, train() shards the model; call evaluate after "
                            "it, or give eval_on_start=True")
        return self.accelerator.prepare(torch.utils.data.DataLoader(
            range(self.parts), batch_size=1,  # type: ignore[arg-type]
            collate_fn=self.data_collator))

    @torch.no_grad()
    def prediction_step(self, model: Any, inputs: dict, *more: Any, **others: Any) -> tuple:
        """The loss of one micro-batch, times their number, because the Trainer logs a mean."""
        part = self.whole.micro_batch(int(inputs["picked"]), self.parts).to(self.args.device)
        self.objective.forward(model, part)
        loss, metrics = self.objective.loss(part)
        for name, value in metrics.items():
            self.held_sums[name] += value
        return loss * self.parts, None, None

    def evaluation_loop(self, dataloader: Any, description: str, prediction_loss_only: Any = None,
                        ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        """Adds the objective's metrics to eval_loss, as eval_margin and so on."""
        self.held_sums: dict = defaultdict(float)
        output: Any = super().evaluation_loop(dataloader, description, prediction_loss_only,
                                              ignore_keys, metric_key_prefix)
        for name, value in self.added_up(self.held_sums).items():
            output.metrics[f"{metric_key_prefix}_{name}"] = value
        return output._replace(num_samples=len(self.held))      # of which it tells the speed

    def added_up(self, sums: dict) -> dict[str, float]:
        """Numbers of this process plus those of all others, by their names: a metric of long
        answers may be there in some processes alone."""
        names = [*dict.fromkeys(split_over_processes(lambda _: [*sums], []))]
        if not names:
            return {}
        here = torch.stack([torch.as_tensor(sums.get(name, 0.0), device=self.args.device).float()
                            for name in names])
        return dict(zip(names, self.accelerator.reduce(here).tolist()))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint. safetensors refuses two names of one tensor, so a tied head becomes two."""
        named = self.model.state_dict() if state_dict is None else state_dict
        owner = {w.data_ptr(): name for name, w in named.items()}
        super()._save(output_dir, {name: w if owner[w.data_ptr()] == name else w.clone()
                                   for name, w in named.items()})

    def save(self, folder: str | Path, tok: Tokenizer) -> None:
        """Write the model folder that `train` leaves; training may go on after it. All processes
        call this, and the first one writes, with whole weights in place of its shards."""
        model = self.accelerator.unwrap_model(self.model)
        whole = self.accelerator.get_state_dict(self.model) if self.is_fsdp_enabled else {}
        if self.is_world_process_zero():
            names = [name for name, _ in model.named_parameters() if whole]
            weights = {f"model.{name}": whole[name.replace("_checkpoint_wrapped_module.", "")]
                       for name in names}
            module: Any = nn.Module()               # whose call is to save
            module.model, module.forward = model, lambda: save_model(Path(folder), model, tok)
            torch.func.functional_call(module, weights, ())
        self.accelerator.wait_for_everyone()
