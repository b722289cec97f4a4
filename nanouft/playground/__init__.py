"""A page on which two small language models learn side by side: SFT, and IFT or DPO."""
