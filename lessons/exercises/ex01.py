"""Lesson 01 runs with this function. Replace the `raise`, then: python -m lessons check 01"""
import torch  # noqa: F401


def attention(q, k, v):
    """01a. Causal attention for the newest T of n + T positions, without PyTorch's own function.

    Difficulty: hard

    q       (B,T,h) the queries of the newest positions
    k       (B,n+T,h) the keys of all positions: n that were read before, then the newest; n may be
            0, as in training
    v       (B,n+T,c) their values
    return  (B,T,c) for each of the newest positions the mean of the values of all positions up to
            and including itself, weighted by the softmax over these of q . k / sqrt(h).
            Gradient flows to q, k and v. The scores may be some hundreds

    A model that talks keeps k and v of what it has read, and computes only the newest positions.
    Query i belongs to position n + i of the row.

    Let T and n be 1 and h be 4, let q_0 . k_0 be 2 ln 3 and q_0 . k_1 be 0. The scores are ln 3 and
    0, so the weights are 3/4 and 1/4.
    """
    raise NotImplementedError
