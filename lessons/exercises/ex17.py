"""The exercise of lesson 17. Replace the `raise`, then: python -m lessons check 17"""
import torch  # noqa: F401


def with_lora(x, W, A, B, alpha):
    """17a. What does a layer give with LoRA?

    Difficulty: easy

    x       (N,d) what the layer reads
    W       (m,d) its frozen matrix; without LoRA it gives x times the transpose of W, (N,m)
    A       (r,d) and
    B       (m,r) what is trained; r is the rank
    alpha   a number. What B A adds to W is multiplied by alpha / r
    return  (N,m)

    x = [[1, 2]], W = [[1, 0]], A = [[1, 1]], B = [[2]] and alpha 1 give [[7]].
    """
    raise NotImplementedError
