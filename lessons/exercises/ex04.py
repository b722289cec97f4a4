"""The exercise of lesson 04. Replace the `raise`, then: python -m lessons check 04"""


def depends_on_blend(tokens, guesses, mask):
    """04a. Which losses can the blend change?

    Difficulty: medium

    tokens   a row, a list of T + 1 words
    guesses  a list of T words: guesses[i] is the model's guess made AT position i, when it has read
             tokens[0] to tokens[i]
    mask     a list of T numbers about the targets tokens[1] to tokens[T]: 1 where the target is a
             word of the answer, else 0
    return   a list of T numbers, one for each target: 1 if it is a word of the answer and its loss
             can depend on lambda, else 0

    IFT mixes a guess into what the model reads at each word of the answer. A target is predicted
    from all that stands before it, and not from itself. Use both properties of the lesson.

    The tokens q x y end with the guesses x z end and the mask 1 1 1 give 0 0 1: only "end" is
    predicted after a guess was read that is another word, z in place of y.
    """
    raise NotImplementedError
