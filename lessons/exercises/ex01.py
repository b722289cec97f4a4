"""Exercises of lesson 01. Replace each `raise`, then: python -m lessons.check 01"""


def attention(q, k, v):
    """01a. Causal attention, written without PyTorch's own function for it.

    q, k    (B,T,h) the query and the key of each position
    v       (B,T,c) the value of each position
    return  (B,T,c) for each position i the mean of the values v_j of all positions j <= i, weighted
            by the softmax over these positions of the scores q_i . k_j / sqrt(h)

    Let T be 2 and h be 4, and let q_1 . k_0 be 2 ln 3 and q_1 . k_1 be 0. The scores of position 1
    are then ln 3 and 0, so that its weights are 3/4 and 1/4. Position 0 sees only itself.
    """
    raise NotImplementedError


def next_token_loss(logits, ids):
    """01b. The loss of a language model: how much does the next token surprise it, on average?

    logits  (B,T,V) for each position one number for each token that could come NEXT
    ids     (B,T) the tokens themselves
    return  one number, in nats

    The logits at position t are about the token at position t + 1. So nothing predicts ids[:, 0],
    and the logits of the last position are not used. The loss is minus the log-probability of the
    true next token, as a mean over all B (T - 1) predictions. Its gradient flows to the logits.

    Let the ids be 0 1 1, and the probabilities of three tokens (.5, .25, .25) at position 0 and
    (.25, .5, .25) at position 1. Token 1 has .25, then token 1 has .5, so the loss is
    (ln 4 + ln 2) / 2 = 1.0397.
    """
    raise NotImplementedError
