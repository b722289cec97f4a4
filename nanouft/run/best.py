"""The best weights of a run with --eval-every, by the first figure of its held-out rows.

    keep_best(folder, step, metrics, model)     # after each measurement: steps/best.safetensors
    save_best(folder, last, after, model, tok)  # at the end: best/, unless the last are as good
"""
from pathlib import Path
from typing import Any

from safetensors import safe_open

from nanouft.models.folders import save_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.plumbing.files import fresh, remove
from nanouft.plumbing.printing import say
from nanouft.plumbing.tensors import holds_tensors, load_tensors, save_tensors
from nanouft.run.folder import trained_weights


def goodness(metrics: dict[str, Any]) -> float:
    """The first figure, turned so that more is better."""
    name = next(iter(metrics))
    return -metrics[name] if name == "nll" else metrics[name]


def best_so_far(folder: Path) -> tuple[int, float]:
    """(step, goodness) of the weights that are kept; a resumed run goes on from them."""
    file = folder / "steps" / "best.safetensors"
    if not holds_tensors(file):
        return 0, float("-inf")
    with safe_open(file, "pt") as stored:
        about = stored.metadata() or {}
    return int(about.get("step", 0)), float(about.get("goodness", "-inf"))


def keep_best(folder: Path, step: int, metrics: dict[str, Any], model: Any) -> None:
    """Keep the trained weights of this step if its held-out figure is the best so far."""
    if not (metrics and goodness(metrics) > best_so_far(folder)[1]):
        return
    save_tensors(folder / "steps" / "best.safetensors", trained_weights(model), step=str(step),
                 goodness=repr(goodness(metrics)))


def save_best(folder: Path, last: int, after: dict[str, Any], model: Any, tok: Tokenizer) -> None:
    """Write best/, a model folder, and say of which step it is. The weights of the last step, with
    the metrics `after`, are already saved; `model` gets the best ones."""
    step, best = best_so_far(folder)
    remove(folder / "best")
    if step in (0, last) or after and goodness(after) >= best:
        return
    file = folder / "steps" / "best.safetensors"
    model.load_state_dict(load_tensors(file, trained_weights(model)), strict=False)
    save_model(fresh(folder / "best"), model, tok)
    say(f"\nOf the measured steps, step {step:,} has the best held-out figure: {folder / 'best'}")
