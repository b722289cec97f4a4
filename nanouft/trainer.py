"""Train on several GPUs and machines, by transformers' Trainer: one command for every method.

    torchrun --nproc_per_node 2 -m nanouft.trainer dpo --data my.jsonl --init out/sft \\
        --output_dir out/dpo --bf16

The first word is the method. Its settings and the flags below mean what they mean in nanouft.train.
All others are those of transformers' TrainingArguments, which --help all shows, but their defaults
are nanouft.train's. So the same rows and flags end in the same weights, up to rounding.

In a script of your own nanouft.trainer.Trainer (run/hf_trainer.py) takes a model, an objective and
rows.
"""
import argparse
import dataclasses
import json
import math
import pickle
import re
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from nanouft import train
from nanouft.data.batches import Encoded, RowSource, encode
from nanouft.data.report import example_lines
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.objectives import find
from nanouft.own import try_reward
from nanouft.plumbing.distributed import split_over_processes
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, library, out_of_memory
from nanouft.plumbing.files import read_json, write_json
from nanouft.plumbing.printing import SILENT, quoted, say
from nanouft.run import device as devices
from nanouft.run import flags, folder, load
from nanouft.run.config import RunConfig, TrainFlags
from nanouft.run.evaluation import equal_rewards_note
from nanouft.run.plan import Plan, plan_run
from nanouft.run.reference import FrozenModels

# of transformers' arguments; None: nanouft.train's choice
DEFAULTS = {"learning_rate": None, "per_device_train_batch_size": None, "num_train_epochs": None,
            "max_steps": None, "eval_strategy": None, "optim": "adamw_torch_fused",
            "lr_scheduler_type": "cosine", "warmup_steps": TrainFlags.warmup, "adam_beta2": 0.95,
            "max_grad_norm": train.CLIP, "seed": TrainFlags.seed, "logging_steps": 1,
            "report_to": "none", "ddp_find_unused_parameters": False}
# flags of nanouft.train that are here, too; and what is said here of others
OURS = ("data", "eval_data", "max_length", "init", "rows", "skills", "mix", "noise", "lora",
        "lora_alpha", "lora_targets", "reward", "max_new")
FLAG_HERE = {"lr": "--learning_rate", "warmup": "--warmup_steps", "steps": "--max_steps",
             "epochs": "--num_train_epochs", "seed": "--seed", "out": "--output_dir",
             "batch_size": "--per_device_train_batch_size * processes",
             "accumulate": "--gradient_accumulation_steps * processes",
             "activation_checkpointing": "--gradient_checkpointing",
             "save_every": "--save_steps", "eval_every": "--eval_strategy steps --eval_steps",
             "keep": "--load_best_model_at_end true",
             "resume": "--resume_from_checkpoint", "objective": "the first word",
             "dtype": "--bf16 or --fp16", "dtype fp16": "--fp16",
             "device": "--use_cpu or CUDA_VISIBLE_DEVICES"}
# files whose errors are about what was given: their own words are the line
LIBRARIES = r"[\\/](transformers|accelerate|httpx\d?|huggingface_hub)[\\/]|argparse"
RECORD = "nanouft.json"         # in a checkpoint: what its run learns from
# what a run learns from, the same on any number of processes: name in Plan.describe -> as it is
# called there
MUST_BE_EQUAL = {"objective": "method", "hp": "setting of the method",
                 "code": "file of the method", "key": "data, initial model or reward",
                 "start": "folder of the initial model",
                 "steps": "number of steps", "batch_size": "number of rows in a step",
                 "lora_alpha": "alpha of LoRA",
                 "lr": "learning rate", "seed": "seed"}
NEEDS_LESS = "give --gradient_checkpointing, then --gradient_accumulation_steps N, or --lora"


def main(argv: list[str] | None = None) -> int:
    """What the libraries refuse is one line as well, such as a logger that is not installed."""
    try:
        run(sys.argv[1:] if argv is None else argv)
    except UserError as e:
        raise UserError(e.spelled(FLAG_HERE)) from None
    except Exception as e:
        file = traceback.extract_tb(e.__traceback__)[-1].filename
        if re.search("gloo|NCCL", str(e)):
            raise UserError("another process of this run has ended; its own line, or torchrun's "
                            "report below, says why") from e
        if isinstance(e, (pickle.UnpicklingError, EOFError)) or "PytorchStreamReader" in str(e):
            raise UserError("--resume_from_checkpoint: it is corrupted, or not a checkpoint of "
                            "nanouft.trainer; give an earlier one") from e
        if "only supported when using PyTorch FSDP" in str(e):
            raise UserError("--resume_from_checkpoint: FSDP2 saved it, sharded or not "
                            "(FULL_STATE_DICT), and one process without FSDP2 cannot load it; "
                            "resume with two or more and the same --fsdp") from e
        if out_of_memory(e) or not re.search(LIBRARIES, file):
            raise
        whose = "the Hugging Face hub: " if re.search("httpx|huggingface_hub", file) else ""
        raise UserError(whose + " ".join(str(e).split())) from None
    return 0


def run(argv: list[str]) -> Any:
    """Train, save the model in --output_dir, and return the Trainer."""
    cfg, args = read_flags(argv)
    objective = cfg.objective()
    device = devices.choose_device(str(args.device), "bf16" if args.bf16 else
                                   "fp16" if args.fp16 else "fp32")
    rows = load.load_rows(cfg, objective)
    try_reward(cfg.reward, rows.train, objective.samples, split_over_processes)
    model, tok = load.open_model(cfg, objective, device)
    objective = load.with_first_models(objective, cfg, device, train=require_prerequisite_models)
    plan = plan_run(cfg, objective, rows, model, tok)
    args.learning_rate, args.max_steps = plan.lr, plan.steps
    args.per_device_train_batch_size = math.ceil(plan.batch_size / cfg.accumulate)
    plan = replace(plan, batch_size=args.per_device_train_batch_size * cfg.accumulate)
    about = plan.describe(model, tok, device)
    learns = {words: {**about["config"], **about}[name] for name, words in MUST_BE_EQUAL.items()}
    held_out = folder.fingerprint(model, plan.held_out)
    check_same([str(learns), held_out, *argv], cfg.accumulate)
    if args.resume_from_checkpoint:
        check_resume(args.resume_from_checkpoint, learns)
    say(plan.headline(model, device))
    if not objective.on_policy:
        say("Only the tokens in [[ ]] are trained on:", *example_lines(plan.train, tok), sep="\n")
    trainer = make_trainer(plan, model.to(device.name), tok, device, args, learns)
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save(args.output_dir, tok)
    if objective.on_policy and (text := equal_rewards_note(trainer.state.log_history)):
        say(text)
    say(f"\nSaved in {args.output_dir}\n"
        f"Talk to it: python -m nanouft.sample {quoted(args.output_dir)}")
    return trainer


def require_prerequisite_models(config: RunConfig) -> None:
    """In place of train.run_from_config, which makes the first models of a method."""
    raise UserError("run that command first: it takes one process")


def check_same(state: list[str], parts: int) -> None:
    """UserError if the processes have other rows, initial models or flags."""
    if len({*split_over_processes(lambda mine: [tuple(state) for _ in mine], range(parts))}) > 1:
        raise UserError("the processes have different rows, initial models or flags: give all "
                        "machines the same files and the same command")


def check_resume(checkpoint: str, learns: dict) -> None:
    """UserError if that run learned from something else, or is over."""
    if not Path(checkpoint, RECORD).is_file():
        raise UserError(f"--resume_from_checkpoint {checkpoint}: give the folder of a checkpoint, "
                        "such as out/dpo/checkpoint-50")
    saved, now = read_json(Path(checkpoint, RECORD)), json.loads(json.dumps(learns))
    if other := [name for name, x in now.items() if saved.get(name) != x]:
        raise UserError(f"--resume_from_checkpoint {checkpoint}: not the same as in that run: "
                        f"{', '.join(other)}; give the same command")
    if lost := [name for name in ("optimizer", "scheduler") if not any(
            Path(checkpoint).glob(f"{name}*"))]:            # transformers would begin them again
        raise UserError(f"--resume_from_checkpoint {checkpoint}: has no {lost[0]}; give another "
                        "checkpoint")
    state = read_json(Path(checkpoint, "trainer_state.json"))
    if not isinstance(state.get("global_step"), int):
        raise UserError(f"--resume_from_checkpoint {checkpoint}: its trainer_state.json has no "
                        "step; give another checkpoint")
    if state["global_step"] >= now["number of steps"]:
        raise UserError(f"--resume_from_checkpoint {checkpoint}: that run is finished; start a "
                        "new one from its model with --init")


def make_trainer(plan: Plan, model: Any, tok: Tokenizer, device: Device, args: Any,
                 learns: dict) -> Any:
    """Its rows have the log-probs of frozen models, and each row was read by one process. Its
    checkpoints say what it learns from, for check_resume."""
    from nanouft.run.hf_trainer import Trainer, transformers

    class SayWhat(transformers.TrainerCallback):        # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.is_world_process_zero:
                write_json(Path(args.output_dir, f"checkpoint-{state.global_step}", RECORD), learns)

    objective = plan.objective
    source, _ = train.source_of_steps(replace(plan, held_out=[]), model, model, tok, device,
                                      share=split_over_processes)
    data = source.data if isinstance(source, RowSource) else plan.train
    held: list[Encoded] = plan.held_out
    if held and objective.coupled:              # kto's held-out rows borrow answers, too
        held, _ = encode(objective.choose([e.row for e in held]), tok, model.cfg.n_ctx)
    if held:
        models = FrozenModels(model, tok.pad, device, tok=tok, share=split_over_processes)
        held = models.prepare(held, objective, plan.cfg.seed)
    return Trainer(model, objective, data, tok.pad, args, held=held, source=source,
                   callbacks=[SayWhat()])


def __getattr__(name: str) -> Any:
    """from nanouft.trainer import Trainer"""
    if name != "Trainer":
        raise AttributeError(name)
    from nanouft.run.hf_trainer import Trainer
    return Trainer


# ---- the command line ----------------------------------------------------------------------------
def read_flags(argv: list[str]) -> tuple[RunConfig, Any]:
    """(the run as nanouft.train has it, transformers' arguments). In the run a step has the rows,
    and the micro-batches, of all processes together."""
    hf = library("transformers", "nanouft.trainer")
    name = argv[0] if argv and not argv[0].startswith("-") else ""
    if not name and "--help" not in argv:
        raise UserError("the first word is the method, as in python -m nanouft.trainer dpo --help "
                        "(python -m nanouft.train --objective list names them)")
    cls = find(name) if name else Objective
    both: Any = type("Both", (flags.Parser, hf.HfArgumentParser), {})   # their flags, our errors
    parser = both(prog="nanouft.trainer", dataclass_types=hf.TrainingArguments,
                  description=flags.narrow((__doc__ or "").rpartition("\n\n")[0]))
    parser.set_defaults(**DEFAULTS, output_dir=f"out/{Path(name).stem}")
    for action in parser._actions[1:]:
        action.help = action.help if "all" in argv else argparse.SUPPRESS
    flags.add_flags(parser, TrainFlags, "", only=OURS)
    flags.add_flags(parser, cls, name)
    for word in argv:
        given = word.partition("=")[0]
        here = FLAG_HERE.get(given[2:].replace("-", "_"), "")
        if given.startswith("--") and here and given not in parser._option_string_actions:
            raise UserError(f"{given}: here it is {here}")
    values = vars(parser.parse_args(argv[1:] if name else argv))
    if values["eval_strategy"] is None and ("eval_data" in values or values["do_eval"]):
        values["eval_strategy"] = "epoch"
    hf_values = {f.name: x for f in dataclasses.fields(hf.TrainingArguments)
                 if (x := values.pop(f.name, None)) is not None}
    args = arguments(hf_values)
    parts = args.gradient_accumulation_steps * args.world_size
    rows = hf_values.get("per_device_train_batch_size")
    config = RunConfig.made(name, cls, {"objective": name} | values)
    cfg = replace(config, seed=args.seed, lr=hf_values.get("learning_rate"),
                  batch_size=rows and rows * parts, accumulate=args.gradient_accumulation_steps,
                  steps=hf_values.get("max_steps"), epochs=hf_values.get("num_train_epochs"),
                  plain=args.eval_strategy == "no" and not args.eval_on_start)
    return replace(cfg.checked(), accumulate=parts), args


def arguments(hf_values: dict[str, Any]) -> Any:
    """transformers' TrainingArguments. From here on the processes know one another."""
    from nanouft.run.hf_trainer import check_unread, greater_is_better, transformers
    check_unread(argparse.Namespace(**hf_values))
    if not (hf_values.get("resume_from_checkpoint") or SILENT):     # once, in the first process
        folder.check_free(hf_values["output_dir"], "--output_dir")
    if (best := hf_values.get("metric_for_best_model")) and "greater_is_better" not in hf_values:
        if (is_greater_better := greater_is_better(best)) is None:
            raise UserError(f"--metric_for_best_model {best}: add --greater_is_better true, or "
                            "false if lower is better")
        hf_values["greater_is_better"] = is_greater_better
    fsdp = hf_values.get("fsdp")                    # a text
    hf_values["fsdp"] = fsdp in ("true", "True") or fsdp
    args = transformers.TrainingArguments(**hf_values)
    check_unread(args)                              # a door that these arguments have opened
    return args


if __name__ == "__main__":
    sys.exit(command(main, needs_less=NEEDS_LESS))
