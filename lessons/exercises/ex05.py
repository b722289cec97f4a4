"""The exercise of lesson 05. Replace the `raise`, then: python -m lessons check 05"""


def estimates(probs, path, step, best):
    """05a. How often does a policy make a best move, and who says so?

    Difficulty: hard

    probs   (S,4) the policy: probs[s, a] is the chance of move a in cell s
    path    the demonstration, a list of T pairs (cell, move); a walk starts in its first cell
    step    (S,4) the cell to which move a leads from cell s; no walk ends before T moves
    best    (S,4) 1 where move a is a best move in cell s, else 0; there may be several
    return  three numbers: the chance that the policy, walking alone, makes all moves of the path;
            what SFT says, the mean over the path of the chance of any best move in its cells; and
            what the policy does, the mean over T moves of the chance of a best move where it stands
            by itself. Follow the chance of standing in each cell, do not sample.

    Let there be two cells, 0 and 1. Moves 0 and 1 lead to cell 0, moves 2 and 3 to cell 1. Move 0
    is the best one in cell 0, and none is in cell 1. If probs[0] is (.6, 0, .4, 0) and the path is
    (0, 0), (0, 0), the result is .36, .6 and (.6 + .36) / 2 = .48.
    """
    raise NotImplementedError
