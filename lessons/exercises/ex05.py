"""Lesson 05 runs with this function. Replace the `raise`, then: python -m lessons check 05"""
import torch  # noqa: F401


def best_moves_alone(probs, step, best, ice, start, T):
    """05a. How often does a policy make a best move where it stands when it walks alone?

    Difficulty: medium

    probs   (S,4) the policy: probs[s, a] is the chance of move a in cell s
    step    (S,4) the cell to which move a leads from cell s
    best    (S,4) 1 where move a is a best move in cell s, else 0; there may be several
    ice     (S,) 1 where cell s is ice, 0 where a walk ends
    start   the cell in which all walks begin, which is ice
    T       the number of moves
    return  one number. For each of the T moves take the walks that are still on the ice, and the
            chance that such a walk makes a best move; then the mean over the T moves. Some walk is
            always left. Follow the chance of standing in each cell, do not sample.

    Let there be two cells of ice, 0 and 1. Moves 0 and 1 lead to cell 0, moves 2 and 3 to cell 1.
    Move 0 is the best one in cell 0, and none is in cell 1. If probs[0] is (.6, 0, .4, 0) and
    probs[1] is (1, 0, 0, 0), two moves from cell 0 give (.6 + .36) / 2 = .48.
    """
    raise NotImplementedError
