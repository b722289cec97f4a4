"""Any objective that learns from rows, in transformers' Trainer: several GPUs, loggers.

    trainer = Trainer(model, OBJECTIVES["dpo"](), data, tok.pad, args)  # args: its arguments
    trainer.train()
    trainer.save("out/dpo", tok)                # accelerate launch --num_processes 2 this.py

The Trainer deals out row numbers. Every process collates the whole step and takes its own
micro-batches. So each knows the totals that a loss is divided by, and their losses add up.

accelerate gives all processes equally many rows. If the rows do not divide evenly, some are read
twice: of 11 rows on two processes, one in each epoch.
"""
import math
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nanouft.data.batches import Encoded, collate
from nanouft.gpt import GPT
from nanouft.models.folders import save_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError, library
from nanouft.plumbing.seeds import step_seed

HFTrainer: Any = library("transformers", "nanouft.trainer").Trainer
# arguments of transformers' Trainer that would do nothing here, or change another loss
NOT_READ = {"label_smoothing_factor": "the objective is the loss",
            "neftune_noise_alpha": 'OBJECTIVES["neftune"] is that method',
            "use_liger_kernel": "it replaces parts of the model that nanouft calls one by one",
            "compute_metrics": "the objective's metrics are logged as eval_...",
            "preprocess_logits_for_metrics": "no logits are kept",
            "compute_loss_func": "the objective is the loss",
            "fsdp": "each GPU holds the whole model", "deepspeed": "each GPU holds the whole model"}


def check(model: Any, objective: Objective, rows: list[Encoded], args: Any,
          more: dict[str, Any]) -> None:
    """UserError for settings that make no sense, are not read here, or make the loss wrong."""
    objective.check()
    if not isinstance(model, GPT):
        raise UserError(f"a {type(model).__name__} has no log-probs of tokens: open its folder "
                        "with nanouft.models.folders.start_model (with LoRA: lora=True and "
                        "model.add_lora)")
    if not rows:
        raise UserError("there is no row to learn from")
    if other := next((e for e in rows if not isinstance(e, Encoded)), None):
        raise UserError(f"a row is a {type(other).__name__}, not tokens: call nanouft.data.batches."
                        "encode(objective.choose(rows), tok, n_ctx)")
    for name, why in NOT_READ.items():
        if more.get(name) or getattr(args, name, None):
            raise UserError(f"{name}: is not read here; {why}")
    if args.n_gpu > 1:
        raise UserError("one process for each GPU: start the script with accelerate launch")
    if objective.on_policy:
        raise UserError("this method learns from its own samples; only python -m nanouft.train "
                        "draws them")
    if objective.coupled and args.gradient_accumulation_steps * args.world_size > 1:
        raise UserError("the loss of a row reads other rows' log-probs: one process, and no "
                        "gradient_accumulation_steps")
    first = objective.first_models
    if first and not getattr(objective, first.setting):
        raise UserError(f"{first.setting} must name the folders of other models: {first.what}")
    if longest := next((e for e in rows if e.length > model.cfg.n_ctx + 1), None):
        raise UserError(f"a row has {longest.length:,} tokens, and the model's context has "
                        f"{model.cfg.n_ctx:,}: give that number to nanouft.data.batches.encode")
    if objective.reference and any(s.ref_logp is None for e in rows for s in e.seqs.values()):
        raise UserError("the start model's log-probs are missing: call FrozenModels.prepare first")


class Trainer(HFTrainer):
    """`data` and `held`: rows to learn from and held-out rows, after FrozenModels.prepare. `more`
    goes to transformers' Trainer. UserError, before the first step, if something cannot be trained
    in this way."""
    objective: Objective
    model: Any

    def __init__(self, model: Any, objective: Objective, data: list[Encoded], pad: int, args: Any,
                 held: list[Encoded] | None = None, **more: Any):
        self.held = held or []
        check(model, objective, [*data, *self.held] if data else [], args, more)
        self.objective, self.pad, self.data = objective, pad, data
        objective.setup(model, args.seed)       # before the optimizer asks which weights learn
        self.sums: dict = defaultdict(float)    # of the objective's metrics, since the last log
        self.steps = 0                          # since then
        args.remove_unused_columns = False
        super().__init__(model, args, train_dataset=range(len(data)),
                         eval_dataset=range(len(self.held)) if held else None,
                         data_collator=lambda picked: {"picked": torch.tensor(picked)}, **more)
        self.model_accepts_loss_kwargs = True   # it adds up micro-batches' losses, without a mean
        self.read_some("data", data)
        if held:
            self.read_some("held", held)
            self.whole = collate(held, range(len(held)), pad)
            processes = self.args.world_size
            if len(held) < processes:
                raise UserError(f"held: {len(held)} rows for {processes} processes; give more")
            each = processes * self.args.per_device_eval_batch_size
            pieces = min(len(held), processes * math.ceil(len(held) / each))
            self.parts = 1 if objective.coupled else pieces     # of the step of all held-out rows

    @torch.no_grad()
    def read_some(self, name: str, rows: list[Encoded]) -> None:
        """UserError if the objective cannot read the first two rows: they are of another kind, or
        have not gone through FrozenModels.prepare."""
        try:
            batch = collate(rows, range(min(2, len(rows))), self.pad)
            batch = batch.to(self.model.wte.weight.device)
            with self.compute_loss_context_manager():
                self.objective.forward(self.model, batch)
                self.objective.loss(batch)
        except (KeyError, AttributeError, TypeError) as e:
            raise UserError(
                f"{name}: {self.objective.name} cannot read these rows ({type(e).__name__}: {e}); "
                "they come from objective.choose, encode and FrozenModels.prepare") from e

    def get_batch_samples(self, iterator: Any, number: int, device: Any) -> tuple[list, Any]:
        """This process's micro-batches of a step, and how many rows the step has."""
        drawn = [self.accelerator.gather(x["picked"]) for x in islice(iterator, number)]
        if not drawn:
            return [], None
        whole = collate(self.data, torch.cat(drawn).tolist(), self.pad)
        whole = replace(whole, seed=step_seed(self.args.seed, self.state.global_step),
                        progress=self.state.global_step / self.state.max_steps)
        self.steps += 1
        parts = len(drawn) * self.accelerator.num_processes
        mine = range(self.accelerator.process_index, parts, self.accelerator.num_processes)
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
        if "loss" in logs and self.sums:
            logs |= {name: x / self.steps for name, x in self.added_up(self.sums).items()}
            self.sums, self.steps = defaultdict(float), 0
        super().log(logs, *more)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Deals out numbers of micro-batches. All held-out rows together are one step."""
        if not self.held or eval_dataset not in (None, self.eval_dataset):
            raise UserError("evaluate: it reads the rows that were given to the Trainer as held=, "
                            + ("and no others" if self.held else "and there are none"))
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
        return output

    def added_up(self, sums: dict) -> dict[str, float]:
        """Numbers of this process plus those of all others."""
        if not sums:
            return {}
        here = torch.stack([torch.as_tensor(x, device=self.args.device) for x in sums.values()])
        return dict(zip(sums, self.accelerator.reduce(here.float()).tolist()))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint. safetensors refuses two names of one tensor, so a tied head becomes two."""
        named = self.model.state_dict() if state_dict is None else state_dict
        owner = {w.data_ptr(): name for name, w in named.items()}
        super()._save(output_dir, {name: w if owner[w.data_ptr()] == name else w.clone()
                                   for name, w in named.items()})

    def save(self, folder: str | Path, tok: Tokenizer) -> None:
        """Write the model folder that `train` leaves; training may go on after it. All processes
        call this, and the first one writes."""
        if self.is_world_process_zero():
            save_model(Path(folder), self.accelerator.unwrap_model(self.model), tok)
        self.accelerator.wait_for_everyone()
