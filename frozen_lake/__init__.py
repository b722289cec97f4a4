"""Frozen Lake: a grid so small that every chance and every gradient is exact, under the same losses
that train language models. Start at __main__.py."""
import nanouft  # noqa: F401  before torch: it decides how idle threads wait
