"""My own program: the losses of nanouft/simple.py and the loop that trains by them.

The parts stand in the order of the program. The lessons come to them in the order 00, 02, 04, 06,
07, 09, 10, 12b, 18, and any order works. After each part, and whenever you like:

    python -m lessons check mine
    python -m lessons check mine --run      # lesson 19: one model goes through all stages by it

Your parts take the place of ours in the real program, and its loss and gradient are compared with
the right ones. What is not yours yet is ours in the meantime, here too: `sft_loss` may call
`token_logp` before you have written it. Any style will do, and other parts may be called by name.

Shapes: B rows, T tokens, C width of the model, V vocabulary. `model(inputs)` are the logits
(B,T,V), `model(inputs, want="embeds")` the embeddings (B,T,C) of the tokens, and
`model(embeds=embeds)` the logits of a model that reads these embeddings instead.
`tokens(rows, side, tok)` calls `padded` and gives inputs, targets and mask of the rows' answers,
where `side` is "answer", "chosen" or "rejected".
"""
import copy
import math

import torch
import torch.nn.functional as F

# The numbers: ROWS 16 rows a step, LAM 0.2, GAMMA 0.95, BETA 0.1, SAMPLES 4, KL 0.04,
# MU 0.9, MU_END 0.05 and FALL 10.
from nanouft.simple import (
    BETA,
    FALL,
    GAMMA,
    KL,
    LAM,
    METHODS,
    MU,
    MU_END,
    ROWS,
    sample_answers,
    tokens,
)

# Two demonstrations as tokens(rows, "answer", tok) gives them (mask 1: trained on) are shown by
# python -m nanouft.simple.


def padded(chats, tok):
    """Lesson 02. From rows of different lengths to three tensors.

    chats   a list with (ids, mask) of each row, two lists of equal length. The mask is 1 on the
            tokens of the answer and its <|end|>, else 0
    tok     tok.pad is the id of <|pad|>, with which short rows are filled on the right
    return  inputs, targets and mask, each (B,T). The target of a position is the token after it, so
            that the first token of a row is never a target, and the last one of the longest row
            need not be read. A shorter row goes on to the same T: its <|end|> is read, with the
            target <|pad|>. The mask is a tensor of floats, 1 where the
            TARGET is a token of the answer, and 0 on the padding.
    """
    raise NotImplementedError


def token_logp(logits, targets):
    """Lesson 02. The log-probability of each target, in nats.

    logits   (B,T,V) what the model gives
    targets  (B,T) ids
    return   (B,T). Gradient flows to the logits.
    """
    raise NotImplementedError


def sft_loss(model, reference, rows, tok, step):
    """Lesson 02. The loss of supervised fine-tuning, one number: make every answer more likely.

    rows    demonstrations; tokens(rows, "answer", tok) makes inputs, targets and mask of them
    return  the mean of -log p over the tokens of each answer, and then the mean over the answers,
            so that a short answer weighs as much as a long one. Gradient flows to the model.

    All losses have these five arguments; `reference` and `step` are not used here.
    """
    raise NotImplementedError


def train(model, rows, tok, objective, steps, reference=None):
    """Lesson 00. The loop: train `model` in place, by the loss that METHODS names.

    objective  the name of a method; METHODS[objective] is a tuple of four: its loss (a function),
               its kinds of rows (a list of names), its learning rate and its number of steps
    steps      how many steps to take. Step 0 learns from the first ROWS rows, step 1 from the next
               ROWS rows, and so on; its loss is loss(model, reference, those rows, tok, step)
    reference  a model that is never trained. If it is None: a copy of the model as it was before
               the first step
    return     a list with the loss of each step, plain numbers

    The optimizer is torch.optim.AdamW with betas (0.9, 0.95) and no weight decay. The gradient is
    that of this step alone, and if its norm over all weights together is larger than 1, it is
    scaled to 1. The warm-up is the nearest whole number to a tenth of the steps, at least 1. In the
    warm-up, step k (from 0) has the rate times (k + 1) / warmup; after it the rate falls along half
    a cosine: times (1 + cos(pi * share)) / 2, where the share is (k - warmup) / (steps - warmup).
    """
    raise NotImplementedError


def log_ratio(model, reference, rows, side, tok):
    """Lesson 07. How many nats has each answer gained over the reference?

    side    which answer: "answer", "chosen" or "rejected"
    return  two tensors (B,): the log-probability of each answer under the model minus that under
            the reference, added up over the tokens of the answer, and how many tokens it has.
            Gradient flows to the model, and none reaches the reference.
    """
    raise NotImplementedError


def dpo_loss(model, reference, rows, tok, step):
    """Lesson 07. The loss of DPO, one number: the mean over the pairs of -log sigmoid(h), where h
    is BETA times the difference between the log-ratios of the chosen and the rejected answer.

    The absolute value of h may be some hundreds.
    """
    raise NotImplementedError


def una_loss(model, reference, rows, tok, step):
    """Lesson 09. The loss of UNA, one number: the mean over the answers of the square of the
    difference between sigmoid(BETA times the log-ratio) and the score.

    row.score is the score of a row's answer, from 0 to 1, or None for a demonstration. UFT is this
    loss on demonstrations and scored answers together: a demonstration counts as score 1.
    """
    raise NotImplementedError


def poft_loss(model, aligned, rows, tok, step):
    """Lesson 10. The loss of PoFT, one number: the mean over the answers of -log sigmoid(h), where
    h is the log-ratio to the helper, here `aligned`, as a mean over the tokens of the answer.
    """
    raise NotImplementedError


def mix_in_own_guess(model, inputs, mask):
    """Lesson 04. What IFT lets the model read.

    inputs  (B,T) the true tokens
    mask    (B,T) 1 where the TARGET of a position is a token of the answer
    return  (B,T,C) embeddings: (1 - LAM) times that of the true token, plus LAM times that of the
            model's own prediction FOR this position, the likeliest next token AT the one before.
            Outside the answer it is the true token. No gradient flows through the result.
    """
    raise NotImplementedError


def ift_loss(model, reference, rows, tok, step):
    """Lesson 06. The loss of IFT, one number.

    The losses -log p of the targets are those of the model that reads mix_in_own_guess. Each is
    multiplied by a weight, which is a constant: its own loss, plus GAMMA times the next one in the
    answer, plus GAMMA squared times the one after that, and so on. The weights of each answer are
    divided by their mean, so that their mean is 1. As in SFT the loss is a mean over the tokens of
    each answer, and then over the answers.
    """
    raise NotImplementedError


def grpo_loss(model, reference, rows, tok, step):
    """Lesson 12b. The loss of GRPO, one number.

    sample_answers(model, rows, tok, step) draws SAMPLES answers to each of the B prompts: inputs,
    targets and mask, each (B * SAMPLES, T), the answers to one prompt below each other, and their
    scores (B, SAMPLES).

    The advantage of an answer is its score minus the mean of its prompt's scores, divided by their
    standard deviation (whose sum of squares is divided by SAMPLES - 1) plus 0.0001. The loss of a
    token is KL * k3 - ratio * advantage. The ratio is pi / pi_old, where pi_old is the model as it
    is now, as a constant: the ratio is 1, and its gradient is that of log pi. With d = log p of the
    reference minus log p of the model, k3 is e^d - d - 1, and gradient flows through it. No
    gradient reaches the reference. The loss is a mean over the tokens of each answer, and then over
    the answers.
    """
    raise NotImplementedError


def chord_loss(model, reference, rows, tok, step):
    """Lesson 18. The loss of CHORD, one number: (1 - w) * exploration + w * imitation.

    rows    demonstrations. Exploration answers their prompts by sample_answers, as in grpo_loss;
            imitation reads their own answers, by tokens(rows, "answer", tok)

    The weight w falls along half a cosine: MU_END + (MU - MU_END) * (1 + cos(pi * share)) / 2,
    where share is step / FALL, and 1 from step FALL on. Exploration is the loss of GRPO without its
    penalty KL * k3. Imitation is the mean over all tokens of all demonstrations of the step at once
    of -p (1 - p) log p, where p (1 - p) is a constant: it spares tokens that the model knows, and
    those that it finds hopeless. The reference is not used.
    """
    raise NotImplementedError
