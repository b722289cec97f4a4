"""Fixtures of all tests stand in fixtures.py: the tests of lab/ use them, too."""
from fixtures import b, brief, browser, here, pytest_terminal_summary, tiny_base  # noqa: F401
