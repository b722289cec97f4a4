"""A page in which a small language model learns in the browser: SFT, IFT or DPO."""
