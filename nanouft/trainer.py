"""Any objective that learns from rows, in transformers' Trainer: several GPUs, FSDP, loggers.

    trainer = Trainer(model, OBJECTIVES["dpo"](), data, tok.pad, args)  # args: its arguments
    trainer.train()
    trainer.save("out/dpo", tok)                # accelerate launch --num_processes 2 this.py

The Trainer deals out numbers of rows. Every process collates the whole step and takes its
micro-batches, so each knows the totals that a loss is divided by, and their losses add up.
"""
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from nanouft.data.batches import Encoded, collate
from nanouft.errors import UserError
from nanouft.models.folders import save_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.seeds import step_seed


def check(objective: Objective, rows: list[Encoded], args: Any) -> None:
    """UserError for what would be learned wrongly."""
    if args.n_gpu > 1:
        raise UserError("one process for each GPU: start the script with accelerate launch")
    if objective.on_policy:
        raise UserError("it learns from its own samples, which only python -m nanouft.train draws")
    if objective.coupled and args.gradient_accumulation_steps * args.world_size > 1:
        raise UserError("the loss of a row reads other rows' log-probs: one process, and no "
                        "gradient_accumulation_steps")
    if objective.first and not getattr(objective, objective.first.field):
        raise UserError(f"{objective.first.field} must name the folders of other models: "
                        f"{objective.first.needs}")
    if objective.reference and any(s.ref_logp is None for e in rows for s in e.seqs.values()):
        raise UserError("the start model's log-probs are missing: call Models.prepare first")


class Trainer(transformers.Trainer):
    """`data`, `held`: rows to learn from and rows that are held out, as Models.prepare left them.
    `more` goes to transformers' Trainer."""
    objective: Objective
    model: Any

    def __init__(self, model: Any, objective: Objective, data: list[Encoded], pad: int, args: Any,
                 held: list[Encoded] | None = None, **more: Any):
        check(objective, data + (held or []), args)
        self.objective, self.pad = objective, pad
        self.data, self.held = data, held or []
        self.sums: dict = defaultdict(float)    # of the objective's metrics, since the last log
        self.steps = 0                          # since then
        args.remove_unused_columns = False
        super().__init__(model, args, train_dataset=range(len(data)),
                         eval_dataset=range(len(held)) if held else None,
                         data_collator=lambda picked: {"picked": torch.tensor(picked)}, **more)
        self.model_accepts_loss_kwargs = True   # it adds up micro-batches' losses, without a mean

    def get_batch_samples(self, iterator: Any, number: int, device: Any) -> tuple[list, Any]:
        """This process's micro-batches of a step, and how many rows the step has."""
        drawn = [self.accelerator.gather(x["picked"]) for x in islice(iterator, number)]
        if not drawn:
            return [], None
        whole = collate(self.data, torch.cat(drawn).tolist(), self.pad)
        whole = replace(whole, seed=step_seed(self.args.seed, self.state.global_step))
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
        return loss * self.accelerator.num_processes        # of processes it takes the mean

    def log(self, logs: dict, *more: Any) -> None:
        """Beside the loss the objective's metrics, as means over the steps since the last log."""
        if "loss" in logs and self.sums:
            sums = [torch.as_tensor(x, device=self.args.device) for x in self.sums.values()]
            means = self.accelerator.reduce(torch.stack(sums)) / self.steps
            logs |= dict(zip(self.sums, means.tolist()))
            self.sums, self.steps = defaultdict(float), 0
        super().log(logs, *more)

    @torch.no_grad()
    def prediction_step(self, model: Any, inputs: dict, *more: Any, **others: Any) -> tuple:
        """The loss of rows that are held out; each batch is a step of its own."""
        batch = collate(self.held, inputs["picked"].tolist(), self.pad).to(self.args.device)
        self.objective.forward(model, batch)
        return self.objective.loss(batch)[0], None, None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint. safetensors refuses two names of one tensor, so a tied head becomes two."""
        named = self.model.state_dict() if state_dict is None else state_dict
        owner = {w.data_ptr(): name for name, w in named.items()}
        super()._save(output_dir, {name: w if owner[w.data_ptr()] == name else w.clone()
                                   for name, w in named.items()})

    def save(self, folder: str | Path, tok: Tokenizer, fresh: Any = None) -> None:
        """The model folder that `train` leaves. All processes call this, the first one writes. If
        weights are sharded (FSDP, ZeRO 3) they go into `fresh`: the model as it was opened."""
        whole = self.accelerator.get_state_dict(self.model_wrapped)     # gathered from all
        if self.is_world_process_zero():
            model = fresh or self.accelerator.unwrap_model(self.model)
            if fresh:
                model.load_state_dict(whole)
            save_model(Path(folder), model, tok)
        self.accelerator.wait_for_everyone()
