"""Lesson 04 runs with these functions. Replace each `raise`, then: python -m lessons check 04"""
import torch  # noqa: F401


def own_guess(inputs, mask, likeliest):
    """04a. The model's own prediction for each token of the answer.

    Difficulty: easy

    inputs     (B,T) ids: the tokens that the model reads
    mask       (B,T) 1 where the target, inputs[:, i + 1], is a token of the answer, else 0
    likeliest  (B,T) ids: the model's most likely next token AT each position, made when it has read
               everything up to there
    return     (B,T) ids: FOR each token of the answer what the model would have put there, for all
               others the true token

    Nothing is predicted for the first token of a row. The row 5 6 7 8 with the mask 0 1 1 0 and the
    likeliest 1 2 3 4 gives 5 6 2 3.
    """
    raise NotImplementedError


def best_moves_alone(probs, step, best, ice, start, T):
    """04b. How often does a policy make a best move in the cells that its own walks reach?

    Difficulty: medium

    probs   (S,4) the policy: probs[s, a] is the probability of move a in cell s
    step    (S,4) the cell to which move a leads from cell s
    best    (S,4) 1 where move a is a best move in cell s, else 0; there may be several
    ice     (S,) 1 where cell s is ice, 0 where a walk ends
    start   the cell in which all walks begin, which is ice
    T       the number of moves
    return  one number. For each of the T moves take the walks that are still on the ice, and the
            probability that such a walk makes a best move; then the mean over the T moves. Some
            walk is always left. Follow the probability of standing in each cell, do not sample.

    Let there be two cells of ice, 0 and 1. Moves 0 and 1 lead to cell 0, moves 2 and 3 to cell 1.
    Move 0 is the best one in cell 0, and none is in cell 1. If probs[0] is (.6, 0, .4, 0) and
    probs[1] is (1, 0, 0, 0), two moves from cell 0 give (.6 + .36) / 2 = .48.
    """
    raise NotImplementedError
