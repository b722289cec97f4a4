"""Fixtures of the project's tests (tests/fixtures.py), which the tests of the laboratory share."""
from fixtures import b, brief, browser, here, pytest_terminal_summary, tiny_base  # noqa: F401
