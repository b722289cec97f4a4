"""What papers report of their own models, beside what came out here.

In `here` {+key} is a difference of ours with its interval (write.told), of a question or of two
rows that no question compares. The papers' figures were read in the versions that docs/claims.md
names; a difference is the paper's first number less its second.
"""
from typing import NamedTuple


class Reported(NamedTuple):
    comparison: str             # of the paper
    where: str                  # model, task and table of the paper
    reports: str
    here: str
    same_sign: str = ""         # we did not ask


REPORTED = {
    "IFT": (
        Reported(
            "IFT against SFT",
            "Mistral-7B, mean of five tasks of the Open LLM leaderboard (Table 2)",
            "59.61 and 58.65, +0.96",
            "as released {+C1 better: released - SFT}; detached {+C1 as good: detached - SFT}",
            "as released no; detached neither better nor worse"),
        Reported(
            "IFT against (SFT on UltraChat, then DPO on UltraFeedback)",
            "the same (Table 2)",
            "59.61 and 57.52, +2.09",
            "as released {+C1 not inferior: released - SFT -> DPO}, where DPO had next to nothing"
            " to add",
            "no, but our DPO is no strong opponent"),
        Reported(
            "(SFT on UltraChat, then IFT) against (SFT on UltraChat, then DPO)",
            "the same (Table 2)",
            "58.22 and 57.52, +0.70",
            "not asked"),
        Reported(
            "IFT against SFT",
            "the same model, AlpacaEval win rate (Table 3)",
            "85.18 and 82.56, +2.62",
            "not measured: we have no win rates"),
        Reported(
            "IFT against (SFT on UltraChat, then DPO)",
            "the same model, TL;DR win rate (Table 3)",
            "92.63 and 99.18, -6.55",
            "not measured"),
    ),
    "UFT": (
        Reported(
            "UFT against SFT, on instructions alone",
            "Mistral-7B with LoRA, new Open LLM leaderboard, mean of six tasks (Table 1)",
            "30.09 and 29.87, +0.22",
            "{+C2 better: UFT .01 - SFT} (beta .01)",
            "undecided here"),
        Reported(
            "the same",
            "the same model, old leaderboard, mean of six tasks (Table 2)",
            "64.25 and 63.17, +1.08",
            "the same figures",
            "undecided here"),
        Reported(
            "the same",
            "the same model, MT-Bench, a judge's marks from 1 to 10 (Table 3)",
            "6.55 and 6.33, +0.22",
            "not measured: we have no judge"),
        Reported(
            "the same",
            "the same model, AlpacaEval, length-controlled win rate (Table 3)",
            "7.27 and 8.07, -0.80",
            "not measured: we have no win rates"),
        Reported(
            "UFT in one stage against (SFT, then DPO)",
            "the same, mean (Table 1)",
            "32.81 and 29.09, +3.72",
            "over all {+C3 better: UFT - A -> DPO}, and {+R7 better: UFT - A -> DPO} on SmolLM2, "
            "where it rests on answers of \"I do not know\"",
            "undecided on our own start models; yes on SmolLM2, where the chain with UNA has most "
            "of this lead, too (read off afterwards)"),
        Reported(
            "the same",
            "the old leaderboard, mean (Table 2)",
            "64.34 and 62.84, +1.50",
            "the same figures",
            "the same"),
        Reported(
            "UFT in one stage against (SFT, then KTO)",
            "new leaderboard (Table 1); old leaderboard (Table 2)",
            "32.81 and 28.85, +3.96; 64.34 and 63.23, +1.11",
            "over all {+C3 better: UFT - A -> KTO}",
            "undecided here"),
        Reported(
            "UFT in one stage against (SFT, then UNA)",
            "the same two",
            "32.81 and 29.16, +3.65; 64.34 and 63.02, +1.32",
            "over all {+C3 better: UFT - A -> UNA}, and {+R7 better: UFT - A -> UNA} on SmolLM2",
            "undecided here"),
        Reported(
            "UFT in one stage against (SFT, then DPO)",
            "MT-Bench; AlpacaEval, length-controlled win rate (Table 3)",
            "6.78 and 4.81, +1.97; 8.28 and 1.05, +7.23",
            "not measured"),
        Reported(
            "the same",
            "ifeval, following instructions (Table 1)",
            "46.03 and 26.64, +19.39",
            "not asked"),
        Reported(
            "the same",
            "TruthfulQA (Table 2)",
            "54.05 and 47.83, +6.22",
            "not asked by itself; in questions with a common myth "
            "{+C3 better, score in truth: UFT - A -> DPO} (C3), against the chain with UNA "
            "{+C3b better, score in truth: UFT - A -> UNA} (C3b), both read off afterwards",
            "yes in C3; in C3b not shown on the first start model, no on the second"),
        Reported(
            "(SFT, then DPO) against SFT alone: does it forget?",
            "new leaderboard (Table 1); old leaderboard (Table 2)",
            "29.09 and 29.87, -0.78; 62.84 and 63.17, -0.33",
            "skills {+C3 better, skills: A -> DPO - A} (C3), and on SmolLM2 {+R7 better, skills: A "
            "-> DPO - A}, read off afterwards",
            "undecided on our own start models; on SmolLM2 the same sign, a hint"),
        Reported(
            "(SFT, then KTO) against SFT alone",
            "the same two",
            "28.85 and 29.87, -1.02; 63.23 and 63.17, +0.06",
            "skills {+C12 better, skills: A -> KTO - A} (C12)",
            "yes on the new one, no on the old one"),
        Reported(
            "(SFT, then UNA) against SFT alone",
            "the same two",
            "29.16 and 29.87, -0.71; 63.02 and 63.17, -0.15",
            "skills {+C12 better, skills: A -> UNA - A} (C12), and on SmolLM2 {+R7 better, skills: "
            "A -> UNA - A}, read off afterwards",
            "yes; on SmolLM2 the same sign, not shown"),
    ),
    "UNA": (
        Reported(
            "UNA with scores against DPO",
            "Mistral-7B with LoRA, HelpSteer2, new Open LLM leaderboard, mean of six tasks (Table"
            " 1)",
            "30.92 and 28.53, +2.39",
            "{+C6 better: UNA - DPO}, and {+R8 better: UNA - DPO} on SmolLM2",
            "yes; on SmolLM2 the opposite sign, undecided"),
        Reported(
            "UNA with scores against DPO",
            "old leaderboard, mean of six (Table 2)",
            "64.35 and 62.26, +2.09",
            "the same figures",
            "yes; on SmolLM2 the opposite sign, undecided"),
        Reported(
            "UNA with scores against KTO",
            "new leaderboard (Table 1)",
            "30.92 and 28.56, +2.36",
            "{+C6 better: UNA - KTO}",
            "yes"),
        Reported(
            "UNA with labels against KTO",
            "the same (Table 1)",
            "28.93 (BCE), 28.88 (MSE) and 28.56, +0.37 and +0.32",
            "{+C6 better: UNA, right - KTO} (MSE), read off afterwards",
            "not shown here; both small"),
        Reported(
            "online UNA against RLHF",
            "Qwen2-1.5B, new leaderboard (Table 4)",
            "25.91 and 25.36, +0.55",
            "not asked"),
    ),
    "PoFT": (
        Reported(
            "PoFT against SFT",
            "Mistral-7B and LLaMA-3-8B on three sets of demonstrations (Table 1)",
            "+0.19 to +2.17 in six comparisons",
            "with none wrong {+C4 better: PoFT 0 % - SFT 0 %}; with 40 % wrong {+C4 better: PoFT "
            "- SFT} (read off afterwards), and {+R4 better: PoFT - SFT} on SmolLM2",
            "level with none wrong; yes with 40 %"),
        Reported(
            "SFT on demonstrations that the helpers keep, against PoFT on all",
            "Mistral-7B, OpenHermes (Table 4)",
            "62.14 and 63.52, -1.38",
            "{+C4 better: SFT, filtered - PoFT} with 40 % wrong and a helper that knows the "
            "answers (C4)",
            "no, in another setting"),
    ),
    "others": (
        Reported(
            "DPO against PPO ([DPO v3](https://arxiv.org/abs/2305.18290v3))",
            "TL;DR summaries, win rate against the reference (section 6.2)",
            "about 61 and 57 %",
            "not asked"),
        Reported(
            "ORPO against (SFT, then DPO) ([ORPO v2](https://arxiv.org/abs/2403.07691v2))",
            "Phi-2, win rate in AlpacaEval 1.0 and 2.0 (Table 1)",
            "+21.17 and +5.57 points",
            "not asked; from a base, against DPO without SFT {+C13 better: orpo - dpo}"),
        Reported(
            "SimPO against DPO ([SimPO v2](https://arxiv.org/abs/2405.14734v2))",
            "four models of 7 and 8 billion, AlpacaEval 2, length-controlled win rate (Table 4)",
            "+3.8 to +6.4 points",
            "from a base {+C13 better: simpo - dpo}, read off afterwards, with rates chosen and"
            " other settings not",
            "not shown on the first start model, no on the second"),
    ),
}
