"""Frozen Lake: an MDP so small that everything is known exactly. It shows what IFT, SFT, DPO and
ORPO do. Start at __main__.py."""
import nanouft  # noqa: F401  before torch: it decides how idle threads wait
