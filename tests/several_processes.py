"""Methods on several processes against one: the largest differences of losses and of weights.

    python tests/several_processes.py # the table of all; half an hour of two cores
    python tests/several_processes.py dpo "grpo --lora 4"

AdamW's epsilon is 1e-5. With 1e-8 it makes full steps of gradients that are rounding alone.
"""
import os
import socket
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from made import start_folder
from safetensors.torch import load_file
from torch.multiprocessing import start_processes

from nanouft.objectives import OBJECTIVES, find
from nanouft.plumbing.errors import UserError
from nanouft.run.flags import as_flags

ROWS = 8                                        # of a step
SHARDS = ["--fsdp", "true", "--fsdp_config", '{"version": 2}']
COLUMNS = {     # title: (nodes, processes of a node, parts of a step, more flags)
    "one process": (1, 1, 1, []), "two": (1, 2, 2, []), "two nodes": (2, 1, 2, []),
    "two, accumulated": (1, 2, 4, ["--gradient_accumulation_steps", "2"]),
    "FSDP2": (1, 2, 2, SHARDS)}


def train_all_rows(file: str, parts: int, flags: list[str], rows: list[str]) -> None:
    """In each process: train all rows, `dpo --lora 4` and so on, in folders beside `file`. The
    first one writes {row: losses and weights, or why it is refused} into it."""
    from nanouft.trainer import run
    if "--fsdp" in flags:
        let_accelerate_shard_on_a_cpu()
    out = {}
    for i, row in enumerate(rows):
        name, *told = row.split()
        first = find(name).first_models
        others = first.stand_in(str(Path(file).parent / "other")) if first else {}
        folder = f"{file}-{i}"
        try:
            trainer = run([
                name, "--use_cpu", "--output_dir", folder, "--rows", "64", "--max_steps", "4",
                "--per_device_train_batch_size", str(ROWS // parts), "--save_strategy", "no",
                "--adam_epsilon", "1e-5", "--disable_tqdm", "true", *as_flags(others), *flags,
                *told])
            losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
            out[row] = {"losses": torch.tensor(losses), **load_file(f"{folder}/model.safetensors")}
        except UserError as e:
            out[row] = str(e)
    if os.environ.get("RANK", "0") == "0":
        torch.save(out, file)


def let_accelerate_shard_on_a_cpu() -> None:
    """It makes shards of processes with a GPU alone. So here they are said to have one."""
    from accelerate.state import AcceleratorState, DistributedType, PartialState
    begin = AcceleratorState.__init__

    def init(self, *args, **more):
        known = PartialState(cpu=True)._shared_state
        if known["distributed_type"] == DistributedType.MULTI_CPU:
            known["distributed_type"] = DistributedType.MULTI_GPU
        begin(self, *args, **more)
    AcceleratorState.__init__ = init


def in_processes(nodes: int, of_each: int, *told) -> None:
    """`work` in so many processes on gloo. On Linux they are copies of this one, which has loaded
    everything already."""
    if nodes * of_each == 1:
        return train_all_rows(*told)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(one_of, (nodes, of_each, port, *told), nprocs=nodes * of_each,
                    start_method="fork" if sys.platform == "linux" else "spawn")


def one_of(rank: int, nodes: int, of_each: int, port: int, *told) -> None:
    from accelerate.state import AcceleratorState
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(nodes * of_each),
                   "LOCAL_RANK": str(rank % of_each), "LOCAL_WORLD_SIZE": str(of_each),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    AcceleratorState._reset_state(reset_partial_state=True)
    train_all_rows(*told)
    torch.distributed.destroy_process_group()


def gap_text(got, want) -> str:
    """"2.1e-07 6.0e-08", or why it is refused."""
    if isinstance(got, str):
        return got
    assert got.keys() == want.keys()
    gaps = {name: float((got[name] - x).abs().max()) for name, x in want.items()}
    return f"{gaps.pop('losses'):.1e} {max(gaps.values()):.1e}"


if __name__ == "__main__":
    rows = sys.argv[1:] or [*OBJECTIVES]
    with TemporaryDirectory() as folder:
        start_folder(Path(folder, "other"))
        with redirect_stdout(None):
            for title, (nodes, of_each, parts, flags) in COLUMNS.items():
                in_processes(nodes, of_each, f"{folder}/{title}", parts, flags, rows)
        found = {title: torch.load(f"{folder}/{title}") for title in COLUMNS}
    print("method", *COLUMNS, sep=" | ")
    for row in rows:
        print(row, *(gap_text(some[row], found["one process"][row]) for some in found.values()),
              sep=" | ")
