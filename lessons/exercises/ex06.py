"""Exercises of lesson 06. Replace each `raise`, then: python -m lessons.check 06"""


def balance(losses, gamma):
    """06a. Where does the released loss stop pushing the last token? On paper, without a search.

    losses  (N,) the losses of the N tokens of an answer; N is at least 2. The last one, that of
            <|end|>, is not used: it is what you look for. The first one is above 0
    gamma   the discount, above 0 and at most 1
    return  the loss b >= 0 of the last token at which the derivative of L by b is 0, if all other
            losses stay as they are

    L = (sum of v_t l_t) / (sum of v_t)   with   v_t = l_t + gamma l_{t+1} + gamma^2 l_{t+2} + ...

    Put b in for the last loss. Then the numerator is A + B b + b^2 and the denominator is
    U + (G + 1) b, with numbers A, B, U and G that do not depend on b. Set the derivative of this
    fraction to 0.

    losses 2.5 and 0 with gamma 0.95 give 0.9199, the balance of lesson 06.
    """
    raise NotImplementedError


def ift_loss(model, inputs, targets, mask):
    """06b. The whole loss of IFT for one step, with weights that are constants.

    model    like those of the lessons: model(ids) are the logits (B,T,V), model(ids, want="embeds")
             the embeddings (B,T,C), and model(embeds=e) the logits of a model that reads e
    inputs   (B,T) the true tokens that the model reads
    targets  (B,T) the token after each of them
    mask     (B,T) 1 where the target is a token of the answer, else 0; there is a 1 in each row
    return   one number. Gradient flows to the model, but not through the blend or the weights.

    1. Guess: the likeliest next token at each position, when the model reads the true tokens. Shift
       it as lesson 04 does: to the position for which it was made, and in the answer only.
    2. Blend: 0.8 of the true token's embedding and 0.2 of the guess's, at each position.
    3. Losses: -log p of each target, when the model reads the blend.
    4. Weights, for each row and as constants: the raw weight of a token is its own loss, plus
       0.95 times the next loss, plus 0.95 squared times the one after that, and so on to the end
       of the row, where a loss off the mask counts as 0. Raw weights are divided by their mean
       over the counted tokens.
    5. Loss: the mean of weight times loss over the counted tokens of each row, then over the rows.

    `tokens(rows, "answer", tok)` of nanouft/simple.py makes inputs, targets and mask from rows, so
    you can train with your function in place of `ift_loss` there.
    """
    raise NotImplementedError
