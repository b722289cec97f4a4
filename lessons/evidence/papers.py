"""Which sentence of a paper does a question ask, and what came of it?

SENTENCES head the table of docs/all_questions.md. A question that stands under
`asked` is the paper's own sentence, all others are our follow-ups (`whose`). A sentence may change
from one version of a paper to the next, so the version is named.
"""
from dataclasses import dataclass

from lessons.evidence import searches

CLAIMS_OF = {
    "IFT": ("C1", "C1c", "C1d", "C5", "C7", "C9", "R1", "R1s", "R5", "R6"),
    "UFT": ("C2", "C3", "C3b", "C12", "C15", "C16", "R7"),
    "UNA": ("C6", "C10", "R8", "R9"),
    "PoFT": ("C4", "C4b", "C11", "R4"),
    "DFT": ("C8",),
    "p_alpha": ("C19",),
    "one stage": ("C17", "C17b", "C17c", "C17d"),
    "all losses": ("C13", "C14", "C20"),
}
TWO_STAGES = ("in C17 the first of two stages has SFT's default rate, not searched; scores are "
              "exact and graded, in the paper right or wrong")
FEW_SAMPLES = "in C17d's WRONG and in MANY two stages sampled a sixth of the answers"
PREMISES = {f"C3 better, skills: A - A -> {name}" for name in ("DPO", "KTO", "UNA")}


@dataclass(frozen=True)
class Sentence:
    paper: str
    version: str                # arXiv number and version that has the sentence
    says: str                   # in our words
    asked: tuple[str, ...]      # keys (judge.key) of questions that ask what the paper says
    also: tuple[str, ...] = ()  # the same, of our own questions
    doubt: str = ""             # may have fields of fill.py

    @property
    def questions(self) -> tuple[str, ...]:
        """All of them: the paper's own ones first."""
        return self.asked + self.also


SENTENCES = (
    Sentence(
        "IFT", "2405.11870v2",
        "SFT overestimates what a model can do, because it scores each token after the right "
        "words, not after the model's own (v3 says so in section 3, after Eq. 14)",
        ("C7 Step by step, SFT overestimates what its model does",
         "C5 Move by move, SFT overestimates a policy with a habit (5 updates)"),
        doubt="of a whole answer SFT's estimate is exact; on the lake walks that have fallen into "
              "a hole are left out, and if each counted as one that makes no best move, the "
              "estimate would be too high from scratch as well"),
    Sentence(
        "IFT", "2405.11870v3",
        "A temporal residual connection, which blends the right word with the model's own guess, "
        "estimates better",
        ("C7 Step by step, the blend (lam .2) lies nearer to what the model does",
         "C7 Step by step, the blend (lam 1) lies nearer to what the model does"),
        doubt="by construction, since the blend always says less than SFT, which says too much"),
    Sentence(
        "IFT", "2405.11870v3",
        "From the same demonstrations IFT does as well as SFT, or better",
        ("C1 better: released - SFT", "R1 better: released - SFT"),
        ("C1 as good: detached - SFT", "R1 as good: detached - SFT",
         "R5 as good: detached, 96 - SFT, 96", "R5 better, stops: SFT, 96 - detached, 96",
         "C9 as good, stops: detached 48 - SFT 48", "C9 as good, stops: detached 96 - SFT 96",
         "R6 better: detached, 256 - SFT, 256 - detached, 96 + SFT, 96"),
        doubt="on SmolLM2 not all answers stop after 96 steps of 8, as on N1 and N2 after 48; "
              "after 256 (R6) nearly all do, and the score stays undecided"),
    Sentence(
        "IFT", "2405.11870v2",
        "IFT does as well as SFT followed by preference optimization (v3: in its introduction)",
        ("C1 not inferior: released - SFT -> DPO",),
        ("C1c not inferior: detached - SFT -> DPO",),
        doubt="from right demonstrations DPO changed next to nothing, a weak opponent; with 40 % "
              "wrong ones it read right pairs"),
    Sentence(
        "IFT", "2405.11870v3",
        "On Frozen Lake training ends nearest to the optimal policy with DPO, then IFT, then ORPO "
        "and SFT, in part because of the cells that each method explores (section 5.3)",
        ("C5 Frozen Lake: training ends in the paper's order, DPO, IFT, ORPO and SFT",
         "C5 What is read lies where a policy with a habit goes, SFT < IFT < DPO",
         "C5 What is read lies where a policy from scratch goes, SFT < IFT < DPO"),
        doubt="where the order fails IFT ends nearer than DPO, which agrees with the abstract's "
              "\"competitive policy\"; with a habit the cells follow in part by construction"),
    Sentence(
        "UFT", "2410.21438v1",
        "UFT is better than SFT on instruction data alone",
        ("C2 better: UFT .01 - SFT",),
        doubt="as beta goes to 0 its gradient becomes SFT's; with beta .01 it knows {broad& C2 "
              "better, score in fact: SFT - UFT .01} points less of facts than SFT (unplanned)"),
    Sentence(
        "UFT", "2410.21438v1",
        "One stage prevents that alignment makes a model forget what SFT taught (v2, v3: "
        "degradation on some tasks)",
        ("C3 better, skills: UFT - A -> DPO", "C3 better, skills: UFT - A -> KTO",
         "C12 better, skills: UFT - A -> KTO", "C3 better, skills: UFT - A -> UNA",
         "C12 better, skills: UFT - A -> UNA", "R7 better, skills: UFT - A -> DPO",
         "R7 better, skills: UFT - A -> UNA"),
        ("C12 better, skills: A - A -> KTO", "C12 better, skills: A - A -> UNA",
         "C15 not inferior, skills: UFT x4 - chain x1",
         "C16 better, score in reverse: UFT 0.3 - UFT 1"),
        doubt="most of it is reversed words, which UFT learns less with a beta of 1 and more with "
              "a smaller one, which costs facts (C16), and which SmolLM2 had not learned by any "
              "method in R7; C15 chose its settings anew, and UFT's rate on N2 is half of C3's"),
    Sentence(
        "UFT", "2410.21438v1",
        "One stage has a clear advantage over SFT, then alignment, in following instructions and "
        "in factuality",
        ("C3 better: UFT - A -> DPO", "C3 better: UFT - A -> KTO", "C3 better: UFT - A -> UNA",
         "R7 better: UFT - A -> DPO", "R7 better: UFT - A -> UNA", "C3b better: UFT - A -> UNA",
         "C3b better: UFT - A -> KTO", "C3b better: UFT - A -> DPO"),
        ("C3b better: UFT - A and best B",),
        doubt="`truth`, nearest to factuality, has both signs (for UFT in C3, against it in C3b); "
              "it was not asked; overall weighs \"I do not know\" a sixth and reversed words a "
              "fifteenth: if all tasks weigh the same, UFT minus (SFT, then DPO) is {wide C3 "
              "better, tasks alike: UFT - A -> DPO} (unplanned); in C3b UFT's beta of 1 was chosen "
              "over four seeds, and in the one whose scores are kept .3 was ahead; "
              "on SmolLM2 the lead over DPO rests on \"I do not know\", which "
              "the chain with UNA has learned as well, and facts that it knows were not asked"),
    Sentence(
        "UNA", "2408.15339v2",
        "UNA outperforms DPO and KTO",
        ("C6 better: UNA - DPO", "C6 better: UNA - KTO", "R8 better: UNA - DPO"),
        ("C10 better: UNA - RFT", "R8 better: UNA - RFT", "R8 better: UNA - start",
         "R9 better: UNA, lower rate - UNA, as in R8", "R9 better: UNA, balanced - UNA, as in R8"),
        doubt="no score has an error; in C6 UNA was searched in "
              f"{searches.count('C6', 'UNA')} settings, DPO in {searches.count('C6', 'DPO')}; on "
              "SmolLM2 most of the scored answers score less than .5, and five of nine tasks "
              "are asked"),
    Sentence(
        "PoFT", "2412.12865v1",
        "PoFT improves on SFT, stably and consistently, where the quality of demonstrations is "
        "not sure",
        ("C4 better: PoFT - SFT - PoFT 0 % + SFT 0 %", "R4 better: PoFT - SFT"),
        ("C4 better: PoFT - SFT, filtered", "R4 better: PoFT - SFT, filtered",
         "C11 better: filter .4 - PoFT", "C11 better: filter .8 - PoFT",
         "C11 better: aligned model - PoFT"),
        doubt="it needs a model that knows the answers, and that scores more than PoFT itself"),
    Sentence(
        "PoFT", "2412.12865v1",
        "With a filter of the data PoFT is better still",
        ("C4b better: PoFT, filtered - SFT, filtered", "C4b better: PoFT, filtered - PoFT"),
        doubt="the filter is told that 60 % are right"),
    Sentence(
        "DFT", "2508.05629v1",
        "DFT generalizes much better than SFT",
        (),
        ("C8 as good, score in rules_new: DFT - SFT", "C8 as good, score in unknown: DFT - SFT"),
        doubt="whether it is better was not asked; N1 alone, and SFT's rate, though DFT's gradient "
              "is the smaller one"),
    Sentence(
        "p_alpha", "2510.00526v3",
        "A model that is weak in a task learns more with -log p, a strong one with -p",
        ("C19 better: 0 right 0 - 0 right 1", "C19 better: 96 right 1 - 96 right 0",
         "C19 better: 96 right 1 - 96 right 0 - 0 right 1 + 0 right 0"),
        ("C19 better: 0 wrong 0 - 0 wrong 1", "C19 better: 96 wrong 1 - 96 wrong 0",
         "C19 better: 96 wrong 1 - 96 wrong 0 - 0 wrong 1 + 0 wrong 0"),
        doubt="the wrong rows are ours; after 96 steps nothing was learned from them, at the "
              "lowest rate"),
    Sentence(
        "one stage", "2508.11408v2",
        "CHORD, one loss that imitates and explores, does better than SFT followed by RL",
        ("C17 better: FEW chord - FEW chain", "C17 better: WRONG chord - WRONG chain",
         "C17d better: FEW chord - FEW chain", "C17d better: WRONG chord - WRONG chain",
         "C17c better: MANY chord - MANY chain", "C17b better: FEW chord - FEW chain",
         "C17b better: WRONG chord - WRONG chain"),
        doubt=f"{TWO_STAGES}; {FEW_SAMPLES}"),
    Sentence(
        "one stage", "2509.04419v2",
        "HPT, SFT where too little is solved and RL elsewhere, does better than SFT followed by "
        "RL",
        ("C17 better: FEW hpt - FEW chain", "C17 better: WRONG hpt - WRONG chain",
         "C17c better: MANY hpt - MANY chain", "C17b better: FEW hpt - FEW chain",
         "C17b better: WRONG hpt - WRONG chain"),
        doubt=f"{TWO_STAGES}; {FEW_SAMPLES}"),
    Sentence(
        "one stage", "2604.23747v1",
        "An optimizer that drops micro-batches makes SFT, and RL after it, worse",
        ("C17 better: WRONG chain, half - WRONG chain, dropped",),
        doubt="in the first stage alone, three of four micro-batches, and 40 % of its rows are "
              "wrong"),
)
OF_PAPERS = {question for sentence in SENTENCES for question in sentence.asked}


def whose(key: str) -> str:
    """ "premise", "the paper's" or "ours". Frozen Lake is asked case by case, of one sentence."""
    if key in PREMISES:
        return "premise"
    return "the paper's" if key in OF_PAPERS or key.startswith("C5 ") else "ours"
