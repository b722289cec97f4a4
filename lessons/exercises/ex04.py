"""The exercise of lesson 04. Replace the `raise`, then: python -m lessons.check 04"""


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
