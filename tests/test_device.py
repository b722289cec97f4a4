"""Where and how precisely a run computes (nanouft/run/device.py), on a machine without a GPU."""
import shutil

import pytest
import torch
from commands import call

from nanouft import evaluate, generate, reward
from nanouft.loop import DTYPES, Device
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json, write_json
from nanouft.run import device, evaluation
from nanouft.run.device import choose_device


def test_a_device_that_is_not_there_is_told_by_what_pytorch_sees(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="--device cuda: PyTorch sees 0 CUDA devices here"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match="--device cuda:2: PyTorch sees 2 CUDA devices here"):
        choose_device("cuda:2")


@pytest.mark.parametrize("dtype, has_bf16, size, used, precision", [
    ("fp32", True, 10**8, "fp32", "highest"), ("auto", True, 10**8, "bf16", "high"),
    ("auto", False, 10**8, "fp16", "high"), ("auto", True, 10**6, "fp32", "highest"),
    ("bf16", True, 10**6, "bf16", "high")])
def test_fp32_is_exact_on_a_gpu_and_small_models_have_it(dtype, has_bf16, size, used, precision,
                                                         monkeypatch):
    """As if there were one: TF32 is for the other precisions alone. cuDNN's attention is off."""
    asked, cudnn = [], []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", cudnn.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", asked.append)
    for name, card in (("auto", "cuda:0"), ("cuda:1", "cuda:1")):
        chosen = choose_device(name, dtype)
        assert asked[-1] == card
        asked.pop()
        found = device.exact_if_small(chosen, dtype, size)
        assert found == Device(name.replace("auto", "cuda"), used) and asked[-1] == precision
    assert cudnn == [False, False]
    assert (choose_device("cpu").dtype, choose_device("cpu", "bf16").dtype) == ("fp32", "bf16")
    assert device.exact_if_small(Device("cpu", "bf16"), "auto", size).dtype == "bf16"


def test_threads_are_as_many_as_are_given():
    before = torch.get_num_threads()
    try:
        choose_device("cpu", threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_several_processes_are_told_that_train_is_one(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="train is one process"):
        device.one_process()
    monkeypatch.setenv("WORLD_SIZE", "1")
    device.one_process()


# ---- precision -----------------------------------------------------------------------------------
@pytest.mark.parametrize("trained, flags, used", [
    ("cpu bf16", "", "bf16"), ("cuda:1 bf16", "", "bf16"), ("cpu bf16", "--dtype fp32", "fp32"),
    ("cpu bf16", "--dtype auto", "fp32"), ("cpu fp32", "--dtype bf16", "bf16"),
    ("cuda fp16", "", "fp32"), (None, "", "fp32"), (3, "", "fp32")])
def test_a_model_answers_in_the_precision_that_its_run_had(trained, flags, used, here, monkeypatch):
    """Where this machine has it (a CPU has no fp16), and its start model does too; or as asked."""
    folder, asked, trainings = here / "precise", [], []
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(here / "run", folder)
    write_json(folder / "run.json", read_json(here / "run" / "run.json") | {"device": trained})

    def told(module, name: str, place: int = 0) -> None:
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **how: asked.append(
            given[place].wte.weight.dtype) or real(*given, **how))
    told(evaluation, "generate")
    told(generate, "generate")
    told(evaluate, "logps", place=1)
    assert call(f"sample precise --prompt 'Say fig.' --max-new 2 {flags}") == 0
    assert call(f"evaluate precise --items 1 {flags}") == 0
    assert call(f"evaluate precise --data demos.jsonl --items 0 {flags}") == 0
    assert asked == [DTYPES[used]] * 4, "the start model and the run, families, rows"
    monkeypatch.setattr(reward, "steps", lambda *more, real=reward.steps:
                        trainings.append(more[-1].dtype) or real(*more))
    monkeypatch.chdir(here)
    assert call(f"reward --init precise --data pairs.jsonl --steps 1 --batch-size 2 {flags} --out "
                f"judge{len(list(here.glob('judge*')))}") == 0
    assert trainings == [used]
