"""One method on your rows, from the file to the saved model, in one plain loop.

    python -m nanouft.minimal_train dpo pairs.jsonl out/mine     # starts from the shipped base
    python -m nanouft.minimal_train sft my.jsonl out/sft --init FOLDER   # or from another one

Read it after simple.py and before train.py. It is train.py without its flags, its run folder, its
held-out rows and scores, and resume; on the same rows both have the same losses, as a test checks.
Methods that sample their answers, or that need another model first, need train.py.
"""
import argparse
import sys
from pathlib import Path

from torch.nn.utils import clip_grad_norm_

from nanouft.data.batches import Batching, RowSource, encode
from nanouft.data.rows import read
from nanouft.loop import make_optimizer, warmup_cosine
from nanouft.models.folders import save_model, start_model
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.run.config import TrainFlags
from nanouft.run.hyperparameters import choose_hyperparameters, with_beta
from nanouft.run.reference import FrozenModels


def train(name: str, file: str, folder: str, init: str = "base") -> list[float]:
    """Train the model of `init` by this method on these rows. Returns the loss of each step."""
    # ---- the method and the model
    objective = OBJECTIVES[one_of("method", name, OBJECTIVES)]()
    if objective.on_policy or objective.first_models:
        raise UserError(f"{name}: samples responses or needs another model first; python -m "
                        f"nanouft.train --objective {name} does both")
    if Path(folder).exists():
        raise UserError(f"{folder}: already exists; choose another name")
    model, tok = start_model(init)                      # the weights, and words <-> token ids
    objective.setup(model, seed=0)                      # most methods change nothing here

    # ---- the data: lines of JSON -> Rows -> token ids and masks -> log-probs of the reference
    rows, skipped = read([file], objective.kinds())
    data, report = encode(objective.choose(rows), tok, model.cfg.n_ctx)
    print(f"{len(data)} rows; {len(skipped)} skipped", *report.lines(), sep="\n")
    objective = with_beta(objective, data)              # UNA, UFT: long answers, small beta
    data = FrozenModels(model, tok.pad).prepare(data, objective)    # of the model as it is now

    # ---- learning rate, batch size and steps, by the number of rows and the model
    cfg = TrainFlags(data=(file,))                      # no flag is given
    lr, batch_size, steps = choose_hyperparameters(cfg, objective, len(data), model)
    schedule = warmup_cosine(lr, steps, share=0.1)      # up in a tenth of the steps, then down to 0
    source = RowSource(data, Batching(batch_size, steps), tok.pad)
    optimizer = make_optimizer(model, lr, fused=True)

    losses = []
    for step in range(steps):
        batch = source(step)                            # data: (B,T) tokens, targets and masks
        objective.forward(model, batch)                 # forward: writes a log-prob of each target
        loss, metrics = objective.loss(batch)           # loss: one number for the whole batch
        loss.backward()                                 # its gradient
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = schedule(step)
        optimizer.step()                                # update
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 20 == 0 or step == steps - 1:
            values = "".join(f"   {name} {float(x):.3f}" for name, x in metrics.items())
            print(f"step {step + 1:4d}   loss {losses[-1]:.3f}{values}")
    save_model(Path(folder), model, tok)                # python -m nanouft.sample FOLDER
    return losses


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m nanouft.minimal_train", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", help="such as sft, ift, dpo, una or kto")
    parser.add_argument("rows", help="a file with one JSON object on each line")
    parser.add_argument("folder", help="where the trained model is saved")
    parser.add_argument("--init", default="base", help="folder of the initial model [base]")
    cfg = parser.parse_args(argv)
    train(cfg.method, cfg.rows, cfg.folder, cfg.init)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
