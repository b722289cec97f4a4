"""Exercises of lesson 01. Replace each `raise`, then: python -m lessons.check 01"""


def attention(q, k, v):
    """01a. Causal attention for the newest T of n + T positions, without PyTorch's own function.

    q       (B,T,h) the queries of the newest positions
    k       (B,n+T,h) the keys of all positions: n that were read before, then the newest; n may be
            0, as in training
    v       (B,n+T,c) their values
    return  (B,T,c) for each of the newest positions the mean of the values of all positions up to
            and including itself, weighted by the softmax over these of q . k / sqrt(h)

    A model that talks keeps k and v of what it has read, and computes only the newest positions.
    Query i belongs to position n + i of the row.

    Let T and n be 1 and h be 4, let q_0 . k_0 be 2 ln 3 and q_0 . k_1 be 0. The scores are ln 3 and
    0, so the weights are 3/4 and 1/4.
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
