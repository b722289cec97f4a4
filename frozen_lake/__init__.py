"""Frozen Lake: an MDP small enough to know everything, to see what IFT, SFT, DPO and ORPO do. Start at __main__.py."""
import nanouft  # noqa: F401  before torch: it decides how idle threads wait
