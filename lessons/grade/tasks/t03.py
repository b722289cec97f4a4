"""Tasks of lesson 03."""
import math
from random import Random

import torch

from lessons.grade import forms
from lessons.grade.task import Case, Law, Mistake, Task
from lessons.grade.tasks.project import seqs
from nanouft.objective import Batch, Columns
from nanouft.objectives import sft


# ==== Which tokens pay, and the loss of SFT =======================================================
# ---- 03a -----------------------------------------------------------------------------------------
def response_mask(tokens):
    mask, speaker = [], ""
    for token in tokens:
        header = token in ("user", "assistant")
        speaker = token if header else speaker
        mask.append(int(speaker == "assistant" and not header))
    return mask[1:]


def mask_model(tokens, pays="assistant", end=True, header=False, shift=1, first=0):
    headers = [i for i, token in enumerate(tokens) if token in ("user", "assistant")]
    mask, speaker = [], 0
    for i, token in enumerate(tokens):
        speaker = i if i in headers else speaker
        payer = "user" if pays == "user" else "assistant"
        is_turn = pays == "both" or (tokens[speaker] == payer and speaker >= first)
        ended = pays == "to the end" and "end" in tokens[speaker:i]
        if pays in ("after", "once"):               # only its first header counts
            is_turn = "assistant" in tokens[:i]
        later = tokens[speaker + 1:] if pays == "last" else tokens[:speaker]
        is_last = pays not in ("last", "first") or "assistant" not in later
        word = i not in headers or header or (pays == "after" and is_turn)
        paid = is_turn and is_last and word and not ended and (end or token != "end")
        typed = pays == "ends" and token == "end"
        mask.append(int(paid or typed or pays == "everything"))
    n = len(tokens) - 1
    if shift == "row":
        return mask
    return (mask[shift:] + [0] * n)[:n]


def random_tokens(rng: Random):
    tokens = rng.choice([[], [], ["assistant", "hi", "end"]])
    for _ in range(rng.randint(1, 3)):
        for speaker in ("user", "assistant"):
            tokens += [speaker, *rng.choices(["a", "b", "c", "end"], k=rng.randint(1, 3))]
        tokens += ["end"]
    return (tokens + rng.choice([[], ["user", "thanks", "end"]]),)


def one_for_each_target(mask, args) -> bool:
    return len(list(mask(*args))) == len(args[0]) - 1


MASK = Task(
    "03a", "implement", level=1, minutes=15, core=True,
    signature="response_mask(tokens)",
    text="""Which targets of a row pay? A mask of zeros and ones.

    tokens  a list of words, such as ["user", "hi", "assistant", "yo", "end"]
    return  a list with one number less than tokens: 1 where the TARGET pays, else 0

A row is a conversation; either of the two can begin. "user" and "assistant" are headers: they
say who speaks from there on, up to the next header. What the assistant says pays, in all of its
turns: its words and every "end", also one between its words. Headers do not pay. What the user
says does not pay, even if a user types the word "end". The targets are the row without its first
token: at each place the model must name the next token.
Example: the targets of the row above are hi, assistant, yo, end. The mask is [0, 0, 1, 1].""",
    heading="One equation",
    right=response_mask, model=mask_model,
    cases=(
        Case(("user hi".split(),), "user hi"),
        Case(("user hi assistant yo end".split(),), "user hi assistant yo end"),
        Case(("assistant hi end user yo".split(),), "the assistant begins"),
        Case(("user a end assistant b end c end user d assistant e end".split(),),
             "two turns; a user types \"end\""),
    ),
    random=random_tokens,
    laws=(Law("there must be one number for each target", one_for_each_target),),
    mistakes=(
        Mistake("the end does not pay", dict(end=False),
                "Who teaches the model to stop?",
                "Without the end in the mask, the model is never asked to stop."),
        Mistake("the header pays, too", dict(header=True),
                "Who writes the word \"assistant\" in a chat: the model, or the program around it?",
                "Headers are written by the program. The model is never asked for them."),
        Mistake("the mask is not shifted: it belongs to the inputs", dict(shift=0),
                "Which token does your last number stand for?",
                "The mask belongs to the targets, and those begin one token later."),
        Mistake("the mask is shifted twice", dict(shift=2),
                "Which token is the first target? Does it have the first number?",
                "One shift turns a row into targets. A second one trains on the wrong tokens."),
        Mistake("the mask is as long as the row", dict(shift="row"),
                "How many targets has a row of five tokens?",
                "Five tokens ask four questions: nobody predicts the first one."),
        Mistake("only the last answer pays", dict(pays="last"),
                "How often does the assistant speak in the longest case?",
                "In a talk of many turns each answer can be learnt from."),
        Mistake("only the first answer pays", dict(pays="first"),
                "How often does the assistant speak in the longest case?",
                "In a talk of many turns each answer can be learnt from."),
        Mistake("an answer pays up to its first \"end\" only", dict(pays="to the end"),
                "Who speaks the word c in the longest case?",
                "A turn lasts until the next header, whatever words it has."),
        Mistake("the words of the user pay, too", dict(pays="both"),
                "Whom should the model learn to imitate?",
                "The user's words are read, not learnt: the mask leaves them out."),
        Mistake("everything after the first header of the assistant pays", dict(pays="after"),
                "Who speaks after the second \"user\" of the longest case?",
                "The speaker changes at every header, not only at the first one."),
        Mistake("after the first header of the assistant all words pay, also the user's",
                dict(pays="once"),
                "What happens in your loop when a second \"user\" comes?",
                "The speaker changes at every header: back to the user, too."),
        Mistake("the first header is not read", dict(first=1),
                "Who speaks in your loop before the second header comes?",
                "The first token is no target, but it says who speaks. Read it, then drop it."),
        Mistake("the user pays in place of the assistant", dict(pays="user"),
                "Whom should the model learn to imitate?",
                "SFT imitates what is trained on. Train on users, and it talks like a user."),
        Mistake("every end pays, also one that a user has typed", dict(pays="ends"),
                "Who has said the first \"end\" of the longest case?",
                "It is not the word that pays, it is the speaker."),
        Mistake("everything pays", dict(pays="everything"),
                "Is it the model's task to write the user's part?",
                "This is pretraining: most of the push then goes into imitating questions."),
    ),
    hints=("Whose turn is it at each token? Can you say that while you walk through the row?",
           "Lesson 03, \"One equation\": the tokens that stand in [[ ]] above it.",
           "tokens   user hi assistant yo end      each token's own number   0 0 0 1 1\n"
           "targets       hi assistant yo end      without the first number    0 0 1 1"),
)


# ---- 03b -----------------------------------------------------------------------------------------
def sft_loss(logp, mask, reduction):
    value, _ = sft.loss(Batch.of({"answer": seqs(logp, mask)}, Columns()), sft.SFT(reduction))
    return value


def sft_by_hand(logp, mask, reduction):
    losses, n = -logp.masked_fill(mask == 0, 0).sum(1), mask.sum(1)
    if reduction == "token":
        return losses.sum() / n.sum()
    return (losses / n).mean()


def sft_model(logp, mask, reduction, over="mask", asked=None, total="mean", sign=-1, fill=True):
    reduction = asked or reduction
    paying = mask.clone()
    if over == "all":
        paying = torch.ones_like(mask)
    if over == "question":                      # all places up to the last one that pays
        paying = (mask.flip(1).cumsum(1).flip(1) > 0).float()
    paid = logp.masked_fill(paying == 0, 0) if fill else logp * paying
    sums, n = paid.sum(1), paying.sum(1)
    if over == "padding" or (over == "padding of token" and reduction == "token"):
        n = torch.full_like(n, mask.shape[1])
    if total == "answers" or (total == "sequence" == reduction):
        return sign * sums.mean()
    if total == "sum":
        return sign * (sums.sum() if reduction == "token" else (sums / n).sum())
    return sign * (sums.sum() / n.sum() if reduction == "token" else (sums / n).mean())


def random_answers(rng: Random):
    B, T = rng.randint(2, 3), 6
    logp = torch.tensor([[-3 * rng.random() - 0.1 for _ in range(T)] for _ in range(B)])
    mask = torch.tensor([forms.mask(rng, T) for _ in range(B)])
    padding = mask.flip(1).cumsum(1).flip(1) == 0
    logp = logp.masked_fill(padding, rng.choice([0.0, -5.0, -math.inf]))
    return logp, mask, rng.choice(["token", "sequence"])


def padding_is_free(loss, args) -> bool:
    logp, mask, reduction = args
    other = logp.masked_fill(mask == 0, -4.0)
    return abs(float(loss(other, mask, reduction)) - float(loss(*args))) < 1e-4


LOGP = torch.tensor([[-7.0, -2, 0, 0, 0], [-7, -1, -1, -1, -1]])
M = torch.tensor([[0.0, 1, 0, 0, 0], [0, 1, 1, 1, 1]])
INF = LOGP.masked_fill(LOGP == 0, -math.inf)

SFT = Task(
    "03b", "implement", level=2, minutes=20, core=True,
    signature="sft_loss(logp, mask, reduction)",
    text="""The loss of supervised fine-tuning, with two kinds of mean.

    logp       (B,T) the log-probability of each target, one row for each answer
    mask       (B,T) 1 where the target pays, else 0 (the question, and padding after the answer)
    reduction  "token" or "sequence"
    return     one number; its gradient must flow to logp

A paying token has the loss -logp. "token": the mean over all paying tokens of all rows.
"sequence": for each row the mean over its own paying tokens, then the mean of these B numbers.
What stands in logp where the mask is 0 must not matter. It can be anything, even -inf.
Example: one row pays one token with loss 2, another pays four with loss 1 each. "token" gives
(2 + 1 + 1 + 1 + 1) / 5 = 1.2, "sequence" gives (2 + 1) / 2 = 1.5.""",
    heading="One equation",
    right=sft_loss, by_hand=sft_by_hand,
    model=sft_model,
    cases=(
        Case((LOGP[:1, :2], M[:1, :2], "token"), "one token pays"),
        Case((LOGP, M, "token"), "the example, \"token\""),
        Case((LOGP, M, "sequence"), "the example, \"sequence\""),
        Case((INF, M, "token"), "-inf in the padding"),
        Case((torch.tensor([[-1.0, -5, -3]]), torch.tensor([[1.0, 0, 1]]), "token"),
             "a gap between two turns"),
    ),
    random=random_answers, gradients=(0,),
    laws=(Law("what stands where the mask is 0 must not matter", padding_is_free),),
    mistakes=(
        Mistake("\"sequence\" adds up each row, and does not divide by its tokens",
                dict(total="sequence"),
                "One row pays four tokens with loss 1 each. What is the mean of this row?",
                "First the mean of each row over its own tokens, then the mean over rows."),
        Mistake("padding is counted when the mean is taken", dict(over="padding"),
                "By how many tokens do you divide: by all places, or by those that pay?",
                "Divide by the number of paying tokens. Padding would make long batches cheap."),
        Mistake("the token mean divides by all places, also by those that do not pay",
                dict(over="padding of token"),
                "By how many tokens do you divide where \"token\" is asked: do all of them pay?",
                "Divide by the sum of the mask. Its size counts question and padding, too."),
        Mistake("the question pays, too", dict(over="question"),
                "What does your loss do with the first place of each row?",
                "The question is the user's part. The mask is there to leave it out."),
        Mistake("the mask is never used", dict(over="all"),
                "Where do you read `mask`?",
                "Padding and question are in the row, but they must cost nothing."),
        Mistake("the token mean is taken whatever is asked", dict(asked="token"),
                "Which of your lines reads `reduction`?",
                "You normalised per batch, not per answer: long answers weigh more."),
        Mistake("the sequence mean is taken whatever is asked", dict(asked="sequence"),
                "Which of your lines reads `reduction`?",
                "You normalised per answer, not per batch: a token of a short answer weighs more."),
        Mistake("the last step is a sum, not a mean", dict(total="sum"),
                "What happens to your loss if every row stands in the batch twice?",
                "A sum grows with the batch, and so would each step of training."),
        Mistake("the sums of the answers are averaged", dict(total="answers"),
                "What does an answer of four tokens cost, compared with its mean?",
                "A mean over rows of sums over tokens lets long answers pay most."),
        Mistake("the sign is missing", dict(sign=1),
                "Should the loss fall or rise when the tokens become likelier?",
                "Log-probs are below 0. The loss is minus their mean."),
        Mistake("0 is multiplied by infinity", dict(fill=False),
                "What is 0 times -inf in the computer?",
                "Replace masked places before you add up. Multiplying cannot remove an infinity."),
    ),
    hints=("How many tokens pay in each row, and how many in all?",
           "Lesson 03, \"One equation\": N counts the paying tokens of all answers of a step.",
           "sums of the rows 2 and 4, paying tokens 1 and 4\n"
           "token (2 + 4) / (1 + 4) = 1.2     sequence (2 / 1 + 4 / 4) / 2 = 1.5"),
)

TASKS = [MASK, SFT]


# ==== The loss of a step that was cut into pieces =================================================
def accumulate(pieces):
    return sum(loss for loss, _ in pieces) / sum(tokens for _, tokens in pieces)


def accumulate_model(pieces, how="right", alive=True):
    pieces = [(loss if alive else loss.detach(), tokens) for loss, tokens in pieces]
    means = [loss / tokens for loss, tokens in pieces]
    total = sum(loss for loss, _ in pieces)
    return {"right": total / sum(tokens for _, tokens in pieces), "mean": sum(means) / len(means),
            "added": sum(means), "pieces": total / len(pieces), "last": means[-1],
            "total": total}[how]


def random_pieces(rng: Random):
    sizes = rng.sample(range(2, 9), rng.randint(2, 4))
    return (pieces_of(*[(rng.uniform(0.5, 3) * n, n) for n in sizes]),)


def pieces_of(*pairs):
    return [(torch.tensor(loss), n) for loss, n in pairs]


def halves_are_one(accumulate, args) -> bool:
    one = args[0][:1]
    return abs(float(accumulate(one + one)) - float(accumulate(one))) < 1e-4


def order_is_free(accumulate, args) -> bool:
    return abs(accumulate(args[0][::-1]) - accumulate(*args)) < 1e-4


PIECES = Task(
    "03c", "implement", level=2, minutes=10, core=True,
    signature="accumulate(pieces)",
    text="""A batch is too big for the memory. So a step is cut into pieces. What is its loss?

    pieces  a list of pairs (the losses of a piece's tokens added up, the number of its tokens);
            the first is a tensor of one number, through which the gradient flows
    return  one number: the mean loss per token, as if the whole step had been one piece

Pieces have different numbers of tokens. Each token must weigh the same.
Example: [(2.0, 1), (4.0, 4)] -> 1.2. One token has loss 2, four tokens have loss 1 each.""",
    heading="One equation",
    right=accumulate, model=accumulate_model,
    cases=(
        Case((pieces_of((6.0, 4)),), "one piece"),
        Case((pieces_of((2.0, 1), (4.0, 4)),), "the example"),
        Case((pieces_of((2.0, 2), (6.0, 3)),), "two and three tokens"),
    ),
    random=random_pieces, gradients=(0,),
    laws=(Law("the order of the pieces must change nothing", order_is_free),
          Law("two equal pieces must have the loss of one of them", halves_are_one)),
    mistakes=(
        Mistake("the means of the pieces are averaged", dict(how="mean"),
                "How much does a token weigh in a piece of one, and in a piece of four?",
                "A mean of means is another loss. Real libraries had this bug for years."),
        Mistake("the means of the pieces are added up", dict(how="added"),
                "What happens to your loss if a step is cut into more pieces?",
                "Each piece's mean is a loss of full size. Their sum grows with the pieces."),
        Mistake("the sum is divided by the number of pieces", dict(how="pieces"),
                "How many tokens are in a piece? Does your loss know it?",
                "The mean is per token. How the step was cut must not matter."),
        Mistake("the loss is cut off from the gradient", dict(alive=False),
                "What does torch.tensor(...), or .item(), do to a gradient?",
                "A new tensor is a constant. Add up the losses themselves: they can train."),
        Mistake("only the last piece counts", dict(how="last"),
                "What happens to the losses of the first piece?",
                "Each piece overwrote the one before. Its gradient is then lost, too."),
        Mistake("the sum is not divided at all", dict(how="total"),
                "Is your number a loss per token?",
                "A sum grows with the batch, and with it the size of the step."),
    ),
    hints=("How many tokens has the whole step?",
           "Lesson 03, \"One equation\": N counts the paying tokens of all answers of a step.",
           "[(2, 2), (6, 3)]: five tokens have 8 nats together\n"
           "that is 1.6 per token; the pieces alone have 1 and 2"),
)

TASKS += [PIECES]
