"""Which sentence of a paper does a question ask, and what came of it?

SENTENCES head the table of docs/all_questions.md and the picture. A question that stands under
`asked` is the paper's own sentence, all others are our follow-ups (`whose`). A sentence may change
from one version of a paper to the next, so the version is named. CARRY are the rows that carry
our answer in docs/claims.md, and IN_SHORT is what README says of each paper.
"""
from dataclasses import dataclass, field

from lessons.evidence import searches

CLAIMS_OF = {
    "IFT": ("C1", "C1c", "C1d", "C5", "C7", "C9", "R1", "R1s", "R5", "R6"),
    "UFT": ("C2", "C3", "C3b", "C12", "C15", "R7"),
    "UNA": ("C6", "C10", "R8"),
    "PoFT": ("C4", "C4b", "C11", "R4"),
    "DFT": ("C8",),
    "all losses": ("C13", "C14"),
}
PREMISES = {f"C3 better, skills: A - A -> {name}" for name in ("DPO", "KTO", "UNA")}


@dataclass(frozen=True)
class Sentence:
    paper: str
    version: str                # arXiv number and version that has the sentence
    says: str                   # in our words
    asked: dict[str, str]       # {the question in short, for the picture: its key (judge.key)}
    also: dict[str, str] = field(default_factory=dict)      # the same, of our own questions
    further: dict[str, str] = field(default_factory=dict)   # of those further away
    doubt: str = ""

    @property
    def questions(self) -> dict[str, str]:
        """All of them: the paper's own ones first."""
        return self.asked | self.also | self.further


SENTENCES = (
    Sentence(
        "IFT", "2405.11870v2",
        "SFT overestimates what a model can do, because it scores each token after the right "
        "words, not after the model's own (v3 says so in section 3, after Eq. 14)",
        {"SFT's estimate is too high, step by step":
         "C7 Step by step, SFT overestimates what its model does",
         "SFT's estimate is too high on Frozen Lake, for a policy with a habit":
         "C5 Move by move, SFT overestimates a policy with a habit (5 updates)"},
        doubt="of a whole answer SFT's estimate is exact; on the lake walks that have fallen into "
              "a hole are left out, and if each counted as one that makes no best move, the "
              "estimate would be too high from scratch as well"),
    Sentence(
        "IFT", "2405.11870v3",
        "A temporal residual connection, which blends the right word with the model's own guess, "
        "estimates better",
        {"the blend lies nearer, with 1/5 of the guess (lam .2)":
         "C7 Step by step, the blend (lam .2) lies nearer to what the model does",
         "the blend lies nearer, with the guess alone (lam 1)":
         "C7 Step by step, the blend (lam 1) lies nearer to what the model does"},
        doubt="by construction, since the blend always says less than SFT, which says too much"),
    Sentence(
        "IFT", "2405.11870v3",
        "From the same demonstrations IFT does as well as SFT, or better",
        {"IFT as released is better than SFT": "C1 better: released - SFT",
         "IFT as released is better than SFT, on SmolLM2": "R1 better: released - SFT"},
        {"IFT with detached weights is as good as SFT": "C1 as good: detached - SFT",
         "detached IFT is as good, on SmolLM2 at .4 of SFT's learning rate":
         "R1 as good: detached - SFT",
         "detached IFT is as good, on SmolLM2 at SFT's own learning rate":
         "R5 as good: detached, 96 - SFT, 96"},
        {"fewer answers stop after detached IFT, on SmolLM2 at SFT's rate":
         "R5 better, stops: SFT, 96 - detached, 96",
         "as many answers stop after 48 steps of detached IFT as of SFT":
         "C9 as good, stops: detached 48 - SFT 48",
         "as many answers stop after 96 steps of detached IFT as of SFT":
         "C9 as good, stops: detached 96 - SFT 96",
         "detached IFT's gap to SFT, on SmolLM2, is smaller after 256 steps than after 96":
         "R6 better: detached, 256 - SFT, 256 - detached, 96 + SFT, 96"},
        doubt="on SmolLM2 not all answers stop after 96 steps of 8, as on our bases after 48; "
              "after 256 (R6) nearly all do, and the score stays undecided"),
    Sentence(
        "IFT", "2405.11870v2",
        "IFT does as well as SFT followed by preference optimization (v3: in its introduction)",
        {"IFT as released is not inferior to SFT, then DPO":
         "C1 not inferior: released - SFT -> DPO"},
        {"detached IFT is not inferior to SFT, then DPO, with 40 % wrong demonstrations":
         "C1c not inferior: detached - SFT -> DPO"},
        doubt="from right demonstrations DPO changed next to nothing, a weak opponent; with 40 % "
              "wrong ones it read right pairs"),
    Sentence(
        "IFT", "2405.11870v3",
        "On Frozen Lake training ends nearest to the optimal policy with DPO, then IFT, then ORPO "
        "and SFT, in part because of the cells that each method explores (section 5.3)",
        {"training ends in this order":
         "C5 Frozen Lake: training ends in the paper's order, DPO, IFT, ORPO and SFT",
         "what a method reads lies where the policy goes, more so from SFT to IFT to DPO: a policy "
         "with a habit":
         "C5 What is read lies where a policy with a habit goes, SFT < IFT < DPO",
         "the same of a policy from scratch":
         "C5 What is read lies where a policy from scratch goes, SFT < IFT < DPO"},
        doubt="where the order fails IFT ends nearer than DPO, which agrees with the abstract's "
              "\"competitive policy\"; with a habit the cells follow in part by construction"),
    Sentence(
        "UFT", "2410.21438v1",
        "UFT is better than SFT on instruction data alone",
        {"UFT with the authors' beta is better than SFT": "C2 better: UFT .01 - SFT"},
        doubt="as beta goes to 0 its gradient becomes SFT's"),
    Sentence(
        "UFT", "2410.21438v1",
        "One stage prevents that alignment makes a model forget what SFT taught (v2, v3: "
        "degradation on some tasks)",
        {"UFT keeps more skills than SFT, then DPO": "C3 better, skills: UFT - A -> DPO",
         "UFT keeps more skills than SFT, then KTO": "C3 better, skills: UFT - A -> KTO",
         "UFT keeps more skills than SFT, then KTO (again, new seeds)":
         "C12 better, skills: UFT - A -> KTO",
         "UFT keeps more skills than SFT, then UNA": "C3 better, skills: UFT - A -> UNA",
         "UFT keeps more skills than SFT, then UNA (again, new seeds)":
         "C12 better, skills: UFT - A -> UNA"},
        further={"KTO after SFT forgets some skills (new seeds)":
                 "C12 better, skills: A - A -> KTO",
                 "UNA after SFT forgets some skills (new seeds)":
                 "C12 better, skills: A - A -> UNA"},
        doubt="most of it is reversed words, which UFT learnt less, in fewer steps than a chain"),
    Sentence(
        "UFT", "2410.21438v1",
        "One stage has a clear advantage over SFT, then alignment, in following instructions and "
        "in factuality",
        {"UFT is better over all than SFT, then DPO": "C3 better: UFT - A -> DPO",
         "UFT is better over all than SFT, then KTO": "C3 better: UFT - A -> KTO",
         "UFT is better over all than SFT, then UNA": "C3 better: UFT - A -> UNA",
         "better than SFT, then UNA, where no scored answer is right": "C3b better: UFT - A -> UNA",
         "better than SFT, then KTO, where no scored answer is right": "C3b better: UFT - A -> KTO",
         "better than SFT, then DPO, where no scored answer is right":
         "C3b better: UFT - A -> DPO"},
        {"better than SFT on the best answers, where none is right":
         "C3b better: UFT - A and best B"},
        doubt="`truth`, nearest to factuality, has both signs (for UFT in C3, against it in C3b); "
              "it was not asked"),
    Sentence(
        "UNA", "2408.15339v2",
        "UNA outperforms DPO and KTO",
        {"UNA is better than DPO": "C6 better: UNA - DPO",
         "UNA is better than KTO": "C6 better: UNA - KTO"},
        {"UNA is better than SFT on the right answers": "C10 better: UNA - RFT"},
        doubt=f"no score has an error; UNA was searched in {searches.count('C6', 'UNA')} settings, "
              f"DPO in {searches.count('C6', 'DPO')}"),
    Sentence(
        "PoFT", "2412.12865v1",
        "PoFT improves on SFT, stably and consistently, where the quality of demonstrations is "
        "not sure",
        {"PoFT's lead over SFT is larger with 40 % wrong rows than with none":
         "C4 better: PoFT - SFT - PoFT 0 % + SFT 0 %",
         "PoFT is better than SFT, on SmolLM2": "R4 better: PoFT - SFT"},
        {"PoFT is better than SFT on the rows that its aligned model finds likeliest":
         "C4 better: PoFT - SFT, filtered",
         "PoFT is better than SFT on such rows, on SmolLM2": "R4 better: PoFT - SFT, filtered"},
        {"SFT on the likeliest 40 % of the rows is better than PoFT":
         "C11 better: filter .4 - PoFT",
         "SFT on the likeliest 80 % of the rows is better than PoFT":
         "C11 better: filter .8 - PoFT",
         "the aligned model itself is better than PoFT": "C11 better: aligned model - PoFT"},
        doubt="it needs a model that knows the answers, and that scores more than PoFT itself"),
    Sentence(
        "PoFT", "2412.12865v1",
        "With a filter of the data PoFT is better still",
        {"PoFT is better than SFT, both on the likeliest rows":
         "C4b better: PoFT, filtered - SFT, filtered",
         "PoFT is better on the likeliest rows than on all": "C4b better: PoFT, filtered - PoFT"},
        doubt="the filter is told that 60 % are right"),
    Sentence(
        "DFT", "2508.05629v1",
        "DFT generalizes much better than SFT",
        {},
        {"DFT is as good as SFT in new combinations of rules":
         "C8 as good, score in rules_new: DFT - SFT",
         "DFT is as good as SFT in a new behaviour, to say: I do not know":
         "C8 as good, score in unknown: DFT - SFT"},
        doubt="whether it is better was not asked; one base, and SFT's rate, though DFT's gradient "
              "is the smaller one"),
)
# The three to five questions that carry our answer to each paper, in docs/claims.md.
CARRY = {
    "IFT": ("C1 better: released - SFT", "C1 as good: detached - SFT", "R1 better: released - SFT",
            "R5 as good: detached, 96 - SFT, 96",
            "C7 Step by step, SFT overestimates what its model does"),
    "UFT": ("C2 better: UFT .01 - SFT", "C3 better, skills: UFT - A -> DPO",
            "C12 better, skills: UFT - A -> UNA", "C3 better: UFT - A -> DPO",
            "C3b better: UFT - A -> UNA"),
    "UNA": ("C6 better: UNA - DPO", "C6 better: UNA - KTO", "C6 better: UNA - UNA, right",
            "C10 better: UNA - RFT"),
    "PoFT": ("C4 better: PoFT - SFT - PoFT 0 % + SFT 0 %", "R4 better: PoFT - SFT",
             "C4 better: PoFT, weak - SFT", "C4 better: PoFT - SFT, filtered",
             "C11 better: aligned model - PoFT"),
    "DFT": ("C8 as good, score in rules_new: DFT - SFT", "C8 as good, score in unknown: DFT - SFT"),
    "all losses": ("C13 better: dose 0.1 - dose 0", "C13 better: dose 1 - dose 0.1",
                   "C13 better: dpo with right - dpo with wrong",
                   "C13 better: dpo with floor - dpo",
                   "C13 better: dpo with right - dpo with floor"),
}


@dataclass(frozen=True)
class InShort:
    """What README says of a paper. In the text {key} is how many points the first row of that
    question lies ahead, {-key} how many behind, and {+key} the difference with its interval, on
    each start model. A test asks that the verdicts are those of today, and that no condition is
    missing."""
    text: str
    verdicts: dict[str, str]            # {key of a question: its verdict}
    conditions: tuple[str, ...]         # words without which the text would say more than was shown
    beside: tuple[str, ...] = ()        # differences that no question asks, so without a verdict


IN_SHORT = {
    "IFT": InShort(
        "**The IFT paper says that IFT does as well as SFT and some methods of preference "
        "learning, or better.** The code that its authors released does not do so here: each at "
        "the best settings that we found for it, it scores {-C1 better: released - SFT} points "
        "less than SFT, and {-R1 better: released - SFT} less on SmolLM2, a public model of 135 "
        "million parameters. IFT multiplies the loss of each token by a factor that is computed "
        "from losses. In the released code gradient flows through these factors, and at SFT's "
        "learning rate most answers of one kind, lists, then never end; with a lower rate and a "
        "larger batch they end, but these settings cost points by themselves. Where no gradient "
        "flows through the factors, which is our default, IFT scores as SFT does, within two "
        "points, at SFT's own settings. It takes longer to learn to stop, though, and is behind "
        "until then, and on SmolLM2 it is undecided whether it does as well. The formulas that the "
        "paper prints (Eq. 21 and Algorithm 1) weigh the tokens in other ways, and were not "
        "judged.\n\n"
        "**The paper's first reason is that SFT overestimates what a model can do**, because SFT "
        "asks how likely each word is after the *right* words, while the model will go on after "
        "its *own*. Word by word that is so here, in sums, sorted words and reversed words: SFT "
        "expects the next word to be right more often than it is, by {C7 Step by step, SFT "
        "overestimates what its model does} percentage points, most of which come from reversed "
        "words. On Frozen Lake, the paper's example, a game of crossing ice without falling into a "
        "hole, the answer depends on what the player knew before, on how long training has run and "
        "on whether walks that have fallen are counted ([the lake](docs/lake.md)).",
        {"C1 better: released - SFT": "does not hold", "C1 as good: detached - SFT": "holds",
         "R5 as good: detached, 96 - SFT, 96": "undecided",
         "R1 better: released - SFT": "does not hold",
         "C9 as good, stops: detached 48 - SFT 48": "does not hold",
         "C9 not inferior: detached 48 - SFT 48": "does not hold",
         "C7 Step by step, SFT overestimates what its model does": "holds",
         "C5 Move by move, SFT overestimates a policy with a habit (5 updates)": "holds"},
        ("The code that its authors released", "the best settings that we found", "within two "
         "points, at SFT's own settings", "is behind until then", "were not judged",
         "sums, sorted words and reversed words", "what the player knew before",
         "how long training has run", "whether walks that have fallen are counted")),
    "UFT": InShort(
        "**The UFT paper says that alignment after SFT makes a model forget some of what SFT "
        "taught, and that one stage prevents it.** Here demonstrations show skills, and answers to "
        "questions about honesty come with scores, with labels or as pairs. A *chain* learns the "
        "skills by SFT and then honesty by DPO, KTO or UNA, while UFT learns both in one stage. "
        "Two of the three chains do forget: KTO loses {C12 better, skills: A - A -> KTO} points of "
        "the skills and UNA {C12 better, skills: A - A -> UNA}, while of DPO it is undecided. Even "
        "so UFT does not end with more skills: it lies {-C3 better, skills: UFT - A -> DPO} points "
        "behind the chain with DPO and {-C12 better, skills: UFT - A -> UNA} behind the one with "
        "UNA, and against the one with KTO it is undecided. Most of each gap is one task, to "
        "reverse words. UFT takes fewer steps than the chains, and whether more steps would close "
        "the gaps is not known.\n\n"
        "**It also says that one stage is clearly better than two.** The paper's lead is largest "
        "in following instructions and in factuality, which we did not ask by themselves. On the "
        "mean of skills, honesty and facts that the start model knew already it is undecided here, "
        "against each of the three chains. In a second setting it is honesty that is demonstrated, "
        "and the scored answers to skills are none of them wholly right. There UFT is "
        "{C3b better: UFT - A -> UNA} points ahead of the chain with UNA, because that second "
        "stage unlearns to say \"I do not know\". All of this lead comes from the questions with "
        "that answer, and against the other two chains it is undecided. Plain SFT, on the "
        "demonstrations and on the answer with the highest score to each prompt, is "
        "{-C3b better: UFT - A and best B} points ahead of UFT there. From demonstrations alone "
        "UFT is not shown to be better than SFT.",
        {"C3 better, skills: UFT - A -> DPO": "does not hold",
         "C12 better, skills: UFT - A -> UNA": "does not hold",
         "C12 better, skills: UFT - A -> KTO": "undecided",
         "C12 better, skills: A - A -> KTO": "holds", "C12 better, skills: A - A -> UNA": "holds",
         "C3 better: UFT - A -> DPO": "undecided", "C3 better: UFT - A -> KTO": "undecided",
         "C3 better: UFT - A -> UNA": "undecided", "C3b better: UFT - A -> UNA": "holds",
         "C3b better: UFT - A -> KTO": "undecided", "C3b better: UFT - A -> DPO": "undecided",
         "C3 better, skills: A - A -> DPO": "undecided",
         "C3b better: UFT - A and best B": "does not hold",
         "C2 better: UFT .01 - SFT": "undecided"},
        ("Here", "Two of the three chains do forget", "of DPO it is undecided", "In a second "
         "setting", "none of them wholly right", "All of this lead comes from the questions with "
         "that answer", "the other two chains it is undecided", "with KTO it is undecided",
         "one task, to reverse words", "fewer steps than the chains", "did not ask by themselves",
         "because that second stage unlearns")),
    "UNA": InShort(
        "**The UNA paper says (in version 2) that UNA is better than DPO, KTO and RLHF.** From the "
        "same answers UNA is {C6 better: UNA - DPO} points better than DPO here: UNA reads their "
        "scores, while DPO reads them as pairs. It is {C6 better: UNA - KTO} points better than "
        "KTO, which reads only labels, right or wrong. With the same labels UNA is not shown to be "
        "ahead of KTO, which we did not ask beforehand, so that the lead seems to come from what "
        "scores say beyond labels. Our scores are exact, while real ones are not. Plain SFT on the "
        "answers that have full marks, a rival that the paper does not have, is close: UNA's lead "
        "over it is undecided. RLHF we did not compare.",
        {"C6 better: UNA - DPO": "holds", "C6 better: UNA - KTO": "holds",
         "C10 better: UNA - RFT": "undecided"},
        ("here", "Our scores are exact", "From the same answers", "reads only labels",
         "did not ask beforehand")),
    "PoFT": InShort(
        "**The PoFT paper says that PoFT improves on SFT where the quality of the demonstrations "
        "is not sure.** Its tables use public data as they are; here we made 40 % of the "
        "demonstrations wrong, or none. PoFT's lead over SFT is larger with 40 % wrong than with "
        "none, by {C4 better: PoFT - SFT - PoFT 0 % + SFT 0 %} points, and on SmolLM2 with 40 % "
        "wrong it leads by {R4 better: PoFT - SFT}. But here PoFT has the help of a second model "
        "that already knows the answers, while two of the paper's three helpers score less than "
        "the model that they help. With a weak helper, which learnt from demonstrations of which "
        "40 % were wrong as well, PoFT is not shown to be better than SFT. And the good helper "
        "serves better as a filter: SFT on the 60 % of the demonstrations that it finds likeliest "
        "is {-C4 better: PoFT - SFT, filtered} points ahead of PoFT on all of them, which on "
        "SmolLM2 is undecided.",
        {"C4 better: PoFT - SFT - PoFT 0 % + SFT 0 %": "holds", "R4 better: PoFT - SFT": "holds",
         "C4 better: PoFT - SFT, filtered": "does not hold",
         "C4 better: PoFT, weak - SFT": "undecided",
         "R4 better: PoFT - SFT, filtered": "undecided"},
        ("here", "we made 40 % of the demonstrations wrong", "a second model that already knows "
         "the answers", "With a weak helper", "of which 40 % were wrong as well")),
}
OF_PAPERS = {question for sentence in SENTENCES for question in sentence.asked.values()}


def whose(key: str) -> str:
    """ "premise", "the paper's" or "ours". Frozen Lake is asked case by case, of one sentence."""
    if key in PREMISES:
        return "premise"
    return "the paper's" if key in OF_PAPERS or key.startswith("C5 ") else "ours"
