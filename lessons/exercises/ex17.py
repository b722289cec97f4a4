"""The exercise of lesson 17. Replace the `raise`, then: python -m lessons.check 17"""


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
