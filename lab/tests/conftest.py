"""Fixtures of the project's tests (tests/fixtures.py), which the tests of the laboratory share, and
one of their own."""
import pytest
from fixtures import b, brief, browser, here, pytest_terminal_summary, tiny_base  # noqa: F401

from lab import runner


@pytest.fixture
def inline(monkeypatch):
    """Jobs run in this process, without workers."""
    monkeypatch.setattr(runner, "finished_jobs",
                        lambda work, jobs, workers: (work(*job) for job in jobs))
