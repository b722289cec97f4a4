"""GRPO on the prompts of rows of which some are demonstrations, which it does not learn from (C17).

    python -m nanouft.train --objective lessons/evidence/grpo_beside.py --mix 64:956

So it samples on the same prompts as chord and hpt do.
"""
from nanouft.objectives.grpo import GRPO


class GRPOBeside(GRPO):
    data = "demos + prompts"
    demo = "any"
