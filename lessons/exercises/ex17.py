"""Exercises of lesson 17. Replace each `raise`, then: python -m lessons.check 17"""


def train_step(model, optimizer, inputs, targets, mask):
    """17a. One whole step of SFT, from tokens to moved weights.

    model       inputs (B,T) -> logits (B,T,V)
    optimizer   moves the weights of the model by their gradients
    inputs      (B,T) the tokens that the model reads
    targets     (B,T) the token that follows each of them
    mask        (B,T) 1 where the target belongs to the answer
    return      the loss before the step, a plain number: the mean of -log p(target) over all
                answer tokens of the batch

    The gradient is that of this batch alone. If the norm of the gradients of all weights together
    is larger than 1, they are scaled so that it is 1 (torch.nn.utils.clip_grad_norm_).
    """
    raise NotImplementedError


def score(question, answer):
    """17b. Is the last number of an answer the sum of all numbers in the question?

    question    such as "Add up 9 3 5 step by step."
    answer      whatever a model says, such as "Sure! 9 + 3 = 12, so the total is **17**."
    return      1.0 if it is, else 0.0, also if the answer has no number

    A number is a row of digits. A comma before each three digits belongs to it, so that 1,017 is
    one number, and 9, 3 are two. Other signs around a number do not matter: "17." is 17.
    """
    raise NotImplementedError
