"""Exercises of lesson 04. Replace each `raise`, then: python -m lessons.check 04"""


def own_guess(inputs, mask, argmax):
    """04a. Which tokens would the model itself have put into the answer?

    inputs  (B,T) the true tokens that the model reads
    mask    (B,T) 1 where the TARGET is a token of the answer. The target of position i is the token
            at position i + 1, so the token AT position i belongs to the answer if mask[:, i - 1]
            is 1
    argmax  (B,T) the likeliest next token: argmax[:, i] is the model's guess for position i + 1
    return  (B,T) the guess FOR position i if this position holds a token of the answer, else the
            true token. Position 0 always keeps its token.

    Let P be the prompt and E the end of the answer. The inputs P a b E with the mask 1 1 1 0 and
    the argmax a c E E give P a c E.
    """
    raise NotImplementedError


def blend(E, true, guess, lam):
    """04b. What the model reads in IFT: a blend of the true word and its own guess.

    E       (V,C) the embedding: row x holds the C numbers that stand for token x
    true    (n,) the ids of the true tokens
    guess   (n,) the ids of the guessed tokens
    lam     the share of the guess, from 0 to 1
    return  (n,C) the blended embeddings, through which no gradient may reach E

    If E[1] is (1, 0) and E[2] is (0, 1), then true 1, guess 2 and lam 0.2 give (0.8, 0.2).
    """
    raise NotImplementedError
