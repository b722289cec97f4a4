"""The twelve stories of the gallery, as data: what is seen, a question, the cause, the repair, and the two runs.

Titles and names tell what is seen, not why. Numbers in the texts are places that the page fills from the results:
{bad[mean]:.0%} is a figure of the faulty run, {good[mean]:.0%} of the repaired one; curves end in figures, too.
"""
import shlex
from dataclasses import dataclass
from pathlib import Path

SFT = "--objective sft"
DPO = "--objective dpo"
RLOO = ("--objective rloo --lr 1e-4 --steps 40 --batch-size 16 --skills truth,unknown,fact --eval-every 0 "
        "--show-every 0")
FEW = "--objective sft --rows 30 --batch-size 15 --lr 1e-3"
HERE = "lab/"               # in flags: this folder, wherever a command is called
LOSSES = (("loss", "held_out.nll"),)
EVERY = 12                          # steps between two points of a held-out curve


@dataclass(frozen=True)
class Run:
    """A run of train: its flags, the run that it starts from [the base], and mistakes planted while it trains (fault)
    or while the trained model is asked (asked): names in gallery_faults.FAULTS."""
    flags: str
    after: "Run | None" = None
    fault: str = ""
    asked: str = ""

    @property
    def every_flag(self) -> str:
        """The flags, and how often the held-out rows are asked, if they do not say it."""
        return self.flags + ("" if "--eval-every" in self.flags else f" --eval-every {EVERY}")

    @property
    def argv(self) -> list[str]:
        return shlex.split(self.every_flag.replace(HERE, f"{Path(__file__).parent.as_posix()}/"))

    @property
    def planted(self) -> str:
        """The mistake that no flag makes, if there is one."""
        return self.fault or self.asked


@dataclass(frozen=True)
class Story:
    name: str
    title: str
    seen: str                           # what curve and answers show
    choices: tuple[str, str, str]
    right: int                          # which choice: 0, 1 or 2
    cause: str
    repair: str
    lesson: str                         # number of the lesson that explains it
    faulty: Run
    repaired: Run
    figure: str                         # the fault is seen in this figure ...
    gap: float                          # ... which the repair changes by at least this much, in this direction
    panels: tuple[tuple[str, ...], ...] = LOSSES            # curves that share a panel
    families: tuple[str, str, str] = ("list", "sort", "fact")       # whose first prompts are asked
    unseen: tuple[str, ...] = ()        # curves that the author did not have: drawn only with the repair, dashed

    @property
    def runs(self) -> dict[str, Run]:
        return {"faulty": self.faulty, "repaired": self.repaired}

    def shows(self, made: dict) -> bool:
        """Is the fault seen in the faulty run and gone in the repaired one?"""
        change = made["repaired"]["figures"][self.figure] - made["faulty"]["figures"][self.figure]
        return change >= self.gap if self.gap > 0 else change <= self.gap


STORIES = (
    Story(
        "endless", "It answers, and goes on",
        "Training: SFT on 1,020 demonstrations. The training loss falls as it should. The held-out loss rises. The "
        "answers begin well. Then the model asks itself a new question, and answers that one, too.",
        ("The learning rate is too low.", "The end of an answer was never in the data.", "Sampling is too random."), 1,
        "The rows were written one after the other, without `<|end|>`. What follows an answer is then the next "
        "question, and the model learns exactly that. {bad[stops]:.0%} of the answers stop. The held-out rows end in "
        "`<|end|>`: their loss ({bad[held_out.nll]:.2f}) shows the fault long before anybody reads an answer.",
        "End each answer with the token at which sampling stops, and train on this token. Then {good[stops]:.0%} of "
        "the answers stop. A relative of this mistake: padding and `<|end|>` share one id, and the mask leaves out "
        "both.",
        "03", Run(SFT, fault="no end token"), Run(SFT), "stops", 0.5),
    Story(
        "nothing", "A low loss, and no usable answer",
        "Training: SFT on 1,020 demonstrations. The training loss falls from 12 to 0.1, as low as in a good run. The "
        "held-out loss rises from the first point. No answer is usable.",
        ("The model is asked for a token that it can see.", "The model has learnt the demonstrations by heart.",
         "The data have too few different answers."), 0,
        "Targets were not shifted. The target at each place is the token that the model reads at this place, and not "
        "the next one. To copy is easy: the training loss ends at {bad[loss]:.2f}. But at the start of an answer the "
        "model repeats `<|assistant|>` for ever. The held-out loss, which is computed by other code, rises to "
        "{bad[held_out.nll]:.1f}.",
        "Inputs are `ids[:-1]`, targets are `ids[1:]`. In this project one function does it, `_shift` in "
        "data/batches.py. A low training loss beside a rising held-out loss is a reason to read ten answers.",
        "01", Run(SFT, fault="targets not shifted"), Run(SFT), "mean", 0.3),
    Story(
        "certain", "It is never in doubt",
        "Training: SFT on 1,020 demonstrations. Some of them say \"I do not know.\", where a creature does not exist. "
        "Nearly all scores are good, and the training loss is lower than usual. But the model never says that it does "
        "not know.",
        ("Too few demonstrations say so.", "The model is too small for doubt.",
         "The first token of each answer was not trained."), 2,
        "The mask begins one token late. The first token, \"I\" or \"The\", decides the rest. It says whether the "
        "model knows, and it was never trained. It is also the hardest token. Without it the training loss looks "
        "better ({bad[loss]:.2f}, repaired {good[loss]:.2f}). Of the questions about creatures that do not "
        "exist, {bad[unknown]:.0%} are answered right.",
        "Print one row with its mask, and look at both ends of the answer: `train` does this at each start. With the "
        "right mask, {good[unknown]:.0%} of these questions are answered right. Other families lose a little (truth: "
        "{bad[truth]:.0%} to {good[truth]:.0%}). The mean stays nearly the same ({bad[mean]:.0%} and "
        "{good[mean]:.0%}), so a mean alone would hide the mistake.",
        "03", Run(SFT, fault="mask too late"), Run(SFT), "unknown", 0.15, families=("unknown", "fact", "sort")),
    Story(
        "strangers", "Good curves, strange answers",
        "Training: SFT on 1,020 demonstrations. Both losses are as they should be. A colleague puts the model into a "
        "program. There it talks nonsense.",
        ("The model was saved before the last step.", "The program asks in another form than the training did.",
         "The learning rate was too high."), 1,
        "The program writes `User: ... Assistant:`. The model was trained on `<|user|> ...<|assistant|>`, and these "
        "are tokens of their own. It has never seen the other form. Both tables come from the same weights: "
        "{bad[mean]:.0%} with the wrong form, {good[mean]:.0%} with the right one.",
        "Use the chat template that is stored with the tokenizer, in training and afterwards. Compare the token ids of "
        "one prompt in both programs, not the text. Smaller differences, such as a space too many, cost less and are "
        "found later.",
        "00", Run(SFT, asked="other template"), Run(SFT), "mean", 0.3, families=("sum", "truth", "fact")),
    Story(
        "stutter", "The The The",
        "Training: SFT on 1,020 demonstrations. The loss jumps up in the first steps. Then it falls slowly, to a value "
        "far above that of the base. The answers repeat a few frequent tokens.",
        ("The learning rate is too high.", "The demonstrations are wrong.", "The batch is too small."), 0,
        "The learning rate was 0.03, more than a hundred times the default. The first steps destroyed what the base "
        "knew. The model now knows only how frequent each token is. Clipping the gradient did not help: Adam divides "
        "by the size of the gradient.",
        "Start from the default (2.5e-4), try factors of 3 on both sides, and look at the first 20 steps. A "
        "loss that jumps above its first value says that the learning rate is too high. With the default the score "
        "is {good[mean]:.0%}; it was {bad[mean]:.0%}.",
        "00", Run(SFT + " --lr 3e-2"), Run(SFT), "mean", 0.3),
    Story(
        "waves", "The loss moves in waves",
        "Training: SFT on 1,020 demonstrations, three passes. The training loss goes up and down in every pass. "
        "Some kinds of questions are answered well, others are not.",
        ("The gradient is not clipped.", "The learning rate is too high.", "The rows were not shuffled."), 2,
        "The file is sorted by task, and it was read from top to bottom. For many steps the model sees one task only, "
        "and it forgets the others. The loss is lowest at the beginning of each pass: there stand the facts, which the "
        "base knows already. Reverse, a task from the first half of the file, scores {bad[reverse]:.0%}. But `unknown` "
        "stands last, and scores {bad[unknown]:.0%}. A likely reason, not tested: the learning rate falls to 0, so the "
        "last tasks of the last pass teach little.",
        "Shuffle the rows in each pass. Nothing else was changed: the mean score rises from {bad[mean]:.0%} to "
        "{good[mean]:.0%}, reverse to {good[reverse]:.0%}, `unknown` to {good[unknown]:.0%}.",
        "16", Run(SFT, fault="sorted by task"), Run(SFT), "mean", 0.07, families=("reverse", "sum", "unknown")),
    Story(
        "scissors", "Two curves part",
        "Training: SFT. The training loss goes to 0. The held-out loss is lowest near the beginning. Then it rises and "
        "stays high. The answers have the right form, and many are wrong.",
        ("The model has learnt its demonstrations by heart.", "The held-out rows are from another task.",
         "The learning rate falls too early."), 0,
        "There are only 30 demonstrations, and 100 passes over them. The model knows them by heart: its training loss "
        "is {bad[loss]:.1g}. On other questions it is more and more certain of wrong answers.",
        "Train for fewer passes: here 5 (10 steps) instead of 100, before the held-out loss can rise. It ends at "
        "{good[held_out.nll]:.2f} instead of {bad[held_out.nll]:.2f}, and the mean score is {good[mean]:.0%} instead "
        "of {bad[mean]:.0%}. More demonstrations help more: 1,020 of them give the score of the other stories.",
        "16", Run(FEW + " --steps 200"), Run(FEW + " --steps 10 --eval-every 2"), "held_out.nll", -0.2,
        families=("sum", "sort", "fact")),
    Story(
        "halfway", "It learns, but not enough",
        "Training: SFT on 1,020 demonstrations. Both losses fall a little. The training loss stays above the held-out "
        "loss. No curve looks broken, and the answers have small mistakes.",
        ("The model needs more steps.", "Many demonstrations are wrong.", "The model has learnt the rows by heart."), 1,
        "40 % of the demonstrations are wrong. The model cannot predict these errors, so the training loss stays at "
        "{bad[loss]:.2f}. The held-out rows are right, and their loss is lower: {bad[held_out.nll]:.2f}. A training "
        "loss above the held-out loss is the trace.",
        "Read 20 rows of the data. If nobody can read all of them, let other models do it: `--keep 0.6` keeps the "
        "60 % of the demonstrations to which other models give the highest probability (the idea of PoFT, lesson 11). "
        "The mean score rises from {bad[mean]:.0%} to {good[mean]:.0%}.",
        "11", Run(SFT + " --noise 0.4"), Run(SFT + " --noise 0.4 --keep 0.6"), "mean", 0.05,
        families=("truth", "sort", "reverse")),
    Story(
        "modest", "I do not know.",
        "Training: SFT, then DPO on pairs. The loss falls, and most pairs are won. Then the model refuses questions "
        "that it could answer before.",
        ("The pairs are mixed up.", "Training stopped too early.",
         "The pairs teach a habit, and too little holds the model back."), 2,
        "Among the questions about creatures, \"I do not know.\" is often the chosen answer, and a false sentence the "
        "rejected one. The easiest way to win all of these pairs is to refuse always. The KL penalty is weak (beta "
        "0.1), so nothing stands against it: facts, known since pretraining, fall to {bad[fact]:.0%}.",
        "A stronger KL penalty: with `--beta 10` facts score {good[fact]:.0%}, the mean {good[mean]:.0%} instead of "
        "{bad[mean]:.0%}. Pairs in which the refusal is rejected would help, too. Watch what must not change, not only "
        "what is trained.",
        "07", Run(DPO, Run(SFT)), Run(DPO + " --beta 10", Run(SFT)), "fact", 0.4,
        (("loss",), ("accuracy", "held_out.accuracy")), ("fact", "truth", "sort")),
    Story(
        "flat", "The loss does not move",
        "Training: SFT, then DPO on pairs with a strong KL penalty (beta 10). The loss is the same in all steps, to "
        "the third digit. And yet the model changes: the wanted answers become less likely.",
        ("The learning rate is 0.", "The reference is trained, too.", "The pairs are all the same."), 1,
        "The reference is not frozen: at each step it is the model itself. Both log-ratios are 0, and the loss is "
        "log 2 = 0.693 for ever. Its gradient is not 0: it pushes every pair apart, always with the same force. No "
        "distance is measured, so the penalty holds nothing.",
        "Compute the reference's log-probs once, before training, or keep a copy without gradient. With the same beta "
        "facts score {good[fact]:.0%} instead of {bad[fact]:.0%}. A loss that is still exactly 0.693 after some steps "
        "is the trace.",
        "07", Run(DPO + " --beta 10", Run(SFT), fault="moving reference"), Run(DPO + " --beta 10", Run(SFT)),
        "fact", 0.4, (("loss",), ("held_out.logp_chosen",)), ("fact", "truth", "sort")),
    Story(
        "backwards", "Nine of ten pairs are won",
        "Training: DPO on pairs, from the base. The loss falls, and the accuracy on the training pairs is high. Most "
        "answers are wrong, and many do not stop.",
        ("The model has learnt the pairs by heart.", "The KL penalty is too strong.",
         "The columns \"chosen\" and \"rejected\" are mixed up."), 2,
        "The columns were exchanged when the file was read. The model learns to prefer the worse answers, and it does "
        "so very well: it wins {bad[accuracy]:.0%} of its training pairs. Of the held-out pairs, which were read "
        "correctly, it wins {bad[held_out.accuracy]:.0%}. Far below one half is not bad luck, it is a sign.",
        "Print one pair before training and read it. Keep held-out pairs that somebody else has checked. Exchanged "
        "back, {good[held_out.accuracy]:.0%} of them are won. (Plain DPO from the base still refuses too much, as in "
        "the story \"I do not know.\")",
        "07", Run(DPO, fault="columns swapped"), Run(DPO), "held_out.accuracy", 0.4,
        (("loss",), ("accuracy", "held_out.accuracy")), ("sort", "sum", "truth")),
    Story(
        "perfect", "The reward is perfect",
        "Training: SFT, then RLOO on the model's own answers to questions about creatures. A rule gives the reward. It "
        "rises to nearly 1 in a few steps. Users are not content.",
        ("The reward pays for something else than we want.", "There is no KL penalty.",
         "The model samples too few answers."), 0,
        "The rule pays 1 for each answer that says nothing false (`never_wrong`). \"I do not know.\" is never false. "
        "So the model refuses every question about creatures: the reward ends at {bad[reward]:.2f}, the exact score of "
        "the same answers at {bad[score]:.2f}. There is a KL penalty, but this reward pays far more than it costs. The "
        "curve \"exact score\" is one that nobody has outside of such a world.",
        "Pay for what is wanted: \"I do not know.\" counts only where there is nothing to know. With the exact score "
        "as reward it ends at {good[score]:.2f}. Read answers while the reward rises, and measure with something "
        "that is not trained on.",
        "13", Run(RLOO + " --reward lab/gallery_faults.py:never_wrong", Run(SFT)), Run(RLOO, Run(SFT)),
        "fact", 0.4, (("reward", "score"),), ("fact", "truth", "unknown"), unseen=("score",)),
)
