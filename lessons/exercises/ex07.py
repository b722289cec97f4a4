"""The exercise of lesson 07. Replace the `raise`, then: python -m lessons check 07"""


def both_fall(g_w):
    """07a. A counterexample to "what DPO pushes up goes up".

    Difficulty: medium

    g_w     (n,) the gradient of log p(chosen) by the n weights, not 0; n is at least 3
    return  (n,) a gradient g_l of log p(rejected) for which a small step of DPO makes BOTH answers
            less likely. g_l may not be a multiple of g_w. All three are judged by angles, and an
            angle below a millionth counts as a rounding error

    A small step moves the weights along g_w - g_l, and it changes a number with the gradient g by
    a multiple of g . (g_w - g_l). The margin cannot fall: it changes by a multiple of the square of
    the length of g_w - g_l. First find out which of the two gradients has to be the longer one.
    """
    raise NotImplementedError
