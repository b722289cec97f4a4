"""The other side of a benchmark: transformers and TRL, which do the same work, where they are
installed (bench.py)."""
import importlib.metadata
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nanouft import world
from nanouft.data.tokenizer import Tokenizer
from nanouft.run.storage import write_text


def versions() -> dict[str, str]:
    """{library: version} of those that are installed; torch's says which build it is
    (2.14.1+cu130)."""
    found = {"torch": torch.__version__}
    for name in ("transformers", "trl", "accelerate"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


# ---- transformers --------------------------------------------------------------------------------
def gpt2(folder: str, device: str):
    """transformers' GPT2LMHeadModel with the weights of `folder`, in fp32, without dropout; None:
    not installed."""
    try:
        from transformers import GPT2LMHeadModel
        from transformers.utils import logging
    except ImportError:
        return None
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    return GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).to(device).eval()


@torch.no_grad()
def answer(net, prompts: list[list[int]], tok: Tokenizer, new: int, sample: bool,
           seed: int) -> Tensor:
    """transformers' answers of at most `new` tokens: drawn at temperature 1 until they stop, or
    greedy, endless."""
    width = max(map(len, prompts))
    ids = torch.tensor([[tok.pad] * (width - len(p)) + p for p in prompts], device=net.device)
    how = {"do_sample": True, "top_k": 0, "top_p": 1.0, "eos_token_id": tok.end} if sample else {
        "do_sample": False, "min_new_tokens": new, "eos_token_id": None}
    torch.manual_seed(seed)
    return net.generate(ids, attention_mask=(ids != tok.pad).long(), max_new_tokens=new,
                        pad_token_id=tok.pad, **how)


def prompts(tok: Tokenizer) -> list[list[list[int]]]:
    """Four batches of 64 prompts of NanoWorld's test split."""
    drawn = np.random.default_rng(0).permutation(world.rows("test", "prompts", 64 * 9, 0))
    return [[tok.prompt_ids(r.prompt) for r in part] for part in drawn.reshape(9, 64)[:4]]


# ---- TRL -----------------------------------------------------------------------------------------
def trl_steps(name: str, folder: str, settings: dict, steps: int,
              after_step: Callable[[], None]) -> None:
    """TRL's trainer of sft, dpo or grpo makes `steps` optimizer steps on NanoWorld, from the model
    in `folder`; `after_step` is called after each. ImportError where TRL is missing."""
    import datasets
    import trl
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    class AfterStep(TrainerCallback):
        def on_step_end(self, *_, **__):
            after_step()
    kind, more = {"sft": ("demos", {}), "dpo": ("pairs", {"precompute_ref_log_probs": True}),
                  "grpo": ("prompts",
                           {"num_generations": 4, "max_completion_length": 44, "beta": 0.04})}[name]
    config, trainer = (getattr(trl, name.upper() + what) for what in ("Config", "Trainer"))
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "rows.jsonl")
        write_text(file, "\n".join(json.dumps(chat(r, kind))
                                   for r in world.rows("train", kind, 1020, 0)))
        rows = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=place)
        args = config(place, max_steps=steps, report_to="none", save_strategy="no",
                      logging_strategy="no", disable_tqdm=True, bf16=False,
                      gradient_checkpointing=False, **settings, **more)
        trainer(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), args=args,
                train_dataset=rows, processing_class=AutoTokenizer.from_pretrained(folder),
                callbacks=[AfterStep()],
                **({"reward_funcs": reward} if name == "grpo" else {})).train()


def chat(row, kind: str) -> dict:
    """A row of NanoWorld as TRL wants it."""
    answers = {"demos": {"completion": row.answer}, "prompts": {},
               "pairs": {"chosen": row.chosen, "rejected": row.rejected}}
    return {name: [{"role": turn.role, "content": turn.text} for turn in turns]
            for name, turns in {"prompt": row.prompt, **answers[kind]}.items()}


def reward(prompts: list, completions: list, **_) -> list[float]:
    return [world.score(p[-1]["content"], c[0]["content"].strip())
            for p, c in zip(prompts, completions)]
