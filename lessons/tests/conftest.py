"""Fixtures of the project's tests (tests/fixtures.py)."""
from fixtures import brief, here  # noqa: F401
