"""Shared by all tests: one thread, so that times and numbers do not depend on who else is busy."""
from collections import Counter

import pytest
import torch

torch.set_num_threads(1)


def pytest_terminal_summary(terminalreporter):
    """One line: how many tests were not tried on this machine, and what they lack."""
    lacks = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    if lacks:
        told = [f"{number} ({why.removeprefix('Skipped: ')})" for why, number in lacks.most_common()]
        terminalreporter.line("tests that were not tried here: " + ", ".join(told))


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """A GPT-2 folder with random weights; running.py says which."""
    from running import tiny_folder
    return tiny_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def brief():
    """No long looks at the models that are trained (running.be_brief); `brief.undo()` brings them back."""
    from running import be_brief
    with pytest.MonkeyPatch.context() as patch:
        be_brief(patch.setattr)
        yield patch


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, so that default run folders land in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from browser import Browser, find
    if not find():
        pytest.skip("no Chromium or Chrome is installed, the page is not opened")
    with Browser(tmp_path_factory.mktemp("profile")) as b:
        yield b


@pytest.fixture
def b(browser, file):
    """The browser, for the module's own page (fixture `file`), and afterwards: no error in the page's console."""
    browser.errors.clear()
    yield browser
    assert not browser.errors, browser.errors
