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
