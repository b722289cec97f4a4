"""Exercises of lesson 11. Replace each `raise`, then: python -m lessons.check 11"""


def reward_loss(r, ids, end):
    """11a. The loss of a reward model on P pairs of answers.

    r       (2P,T) what the reward head says after every token. Rows 0 and 1 are the first pair,
            rows 2 and 3 the second one, and so on; the chosen answer stands before the rejected
            one
    ids     (2P,T) the tokens of these rows
    end     the id of <|end|>. It is also the padding: after its <|end|> a row is filled with it.
    return  (P,) the loss of Bradley and Terry for each pair, -log sigmoid(r_w - r_l). The reward of
            an answer is what the head says at its own <|end|>, the first one in its row. The
            rewards of a pair may be 1000 apart.

    Let end be 9, the rows 4 9 9 9 and 4 4 9 9, and r be 5 1 9 9 and 5 7 0 3. The rewards are 1 and
    0, and the loss is 0.3133.
    """
    raise NotImplementedError


def best_of_n(n, likes, scores):
    """11b. How good is, on average, the answer that a reward model likes best of n?

    n       how many of N answers to one prompt are drawn, from 1 to N
    likes   a list of N numbers: the reward of each answer, all different
    scores  a list of N numbers: their exact scores, which the reward model does not see
    return  one number. Take every set of n different answers, and keep the answer of each set that
            is liked best. The result is the mean score of the kept answers, one for each set.

    likes 1 2 3 0 and scores 0 1 0.5 0.2 give 0.425 with n = 1 and 0.5833 with n = 2.
    """
    raise NotImplementedError
