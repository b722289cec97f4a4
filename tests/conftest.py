"""Shared by all tests: one thread, so that times and numbers do not depend on who else is busy."""
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """A GPT-2 folder with random weights; running.py says which."""
    from running import tiny_folder
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, so that default run folders land in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
