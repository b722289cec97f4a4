"""What the function of ex00.py must do."""
from lessons.check import expect, shaped

WORDS = ["bee", "cat", "end"]


def net_push(mine, draw):
    begin = draw.choices(WORDS, k=draw.randint(0, 2))
    chosen, rejected = (begin + draw.choices(WORDS, k=draw.randint(1, 3)) for _ in range(2))
    alike = 0                                       # tokens with which both answers begin
    while alike < min(len(chosen), len(rejected)) and chosen[alike] == rejected[alike]:
        alike += 1
    got = mine(chosen, rejected)
    shaped(got, (len(chosen),), "There is one number for each token of chosen.")
    for i, token in enumerate(chosen):
        if i < alike:
            why = "stands after the same tokens in both answers, so its push is taken back: 0"
        elif i < len(rejected) and rejected[i] == token:
            why = ("stands at this place in both answers, but after different tokens, so these are "
                   "two pushes and neither takes the other back: 1")
        elif token in rejected:
            why = "also occurs in rejected, but not after the same tokens: 1"
        else:
            why = "does not occur in rejected: 1"
        expect(got[i] == (i >= alike), f"{token!r}, token {i} of chosen, {why}. Yours is "
               f"{got[i]:g}.")


EXERCISES = {"00a": net_push}
