"""Debug task of lesson 14: RLOO on a bandit of eight tokens."""
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case

PROGRAM = '''
import torch


def advantages(R):
    """(P,K) rewards of K answers to P prompts -> (P,K): reward minus the mean of the others."""
    K = R.shape[1]
    others = (R.sum(1, keepdim=True) - R) / (K - 1)
    return R - others


def answers(logits, dice):
    """(T,8) logits and (P,K,T) dice in [0, 1) -> (P,K,T) tokens: sampled, but fixed by the dice."""
    ladder = logits.detach().softmax(-1).cumsum(-1)             # (T,8)
    return (dice[..., None] > ladder).sum(-1).clamp(max=7)


def learn(seed, steps):
    """RLOO on answers of two tokens. Right: the first token is 3. -> p(3) after every step.

    There is one logit for each place and token. Both tokens of an answer share its advantage.
    """
    dice = torch.Generator().manual_seed(seed)
    logits = torch.zeros(2, 8, requires_grad=True)
    curve = []
    for _ in range(steps):
        said = answers(logits, torch.rand(4, 4, 2, generator=dice))     # (P,K,T)
        R = (said[..., 0] == 3).float()                                 # (P,K)
        A = advantages(R)
        logp = logits.log_softmax(-1)[torch.arange(2), said]            # (P,K,T)
        loss = -(A[..., None] * logp).sum(-1).mean()
        loss.backward()
        with torch.no_grad():
            logits -= 4.0 * logits.grad
        logits.grad = None
        curve.append(logits.softmax(-1)[0, 3].item())
    return curve
'''

TASKS = [debug(
    "14d", level=3, minutes=25, core=True, heading="One equation",
    signature="learn(seed, steps)", program=PROGRAM,
    random=lambda draw: (draw.randrange(10**6), 5),
    text="""\
A bandit: one of eight tokens pays. RLOO finds it. One bug is planted. Repair it.

There are 4 prompts with 4 answers each. An answer has two tokens. The reward is 1 if the first
one is token 3, else 0. After 20 steps token 3 has a probability above 0.9.""",
    cases=(
        Case((0, 3), "three steps: p(3) after each"),
        Case((1, 6), "six steps, other dice"),
        Case((2, 20), "twenty steps"),
    ),
    log=("the mean reward rises, only faster or more slowly than it should",
         "the mean reward falls to 0", "the mean reward stays near 1/8, or ends at another token",
         "the mean reward rises, but it is wrong from the first step on",
         "the loss is not a number",
         "the mean reward is 1 from the start"),
    bugs=(
        Bug("each advantage goes to another answer", "A = advantages(R)",
            "A = advantages(R).roll(1, 1)", "c",
            "Print R and A side by side. Who earned the reward?",
            "Groups that are laid out in another order pay somebody else's answer."),
        Bug("the loss has the wrong sign", "loss = -(A", "loss = (A", "b",
            "Which way does the step go for an answer with a positive advantage?",
            "Gradient descent makes the loss smaller, so reward stands in it with a minus."),
        Bug("the own reward is part of the baseline",
            "others = (R.sum(1, keepdim=True) - R) / (K - 1)",
            "others = R.mean(1, keepdim=True)", "a",
            "Compute the advantages of 1 0 0 1 by hand. Are they 2/3?",
            "With its own reward in the baseline each advantage shrinks by (K - 1) / K."),
        Bug("the baseline divides by K", "/ (K - 1)", "/ K", "a",
            "How many others are there in a group of K?",
            "A mean of K - 1 numbers is divided by K - 1."),
        Bug("there is no baseline", "return R - others", "return R", "a",
            "What do answers without reward learn from their own failure?",
            "Without a baseline a success pushes up, but a failure pushes nothing down."),
        Bug("only the last token gets the advantage", ".sum(-1).mean()", "[..., -1].mean()", "c",
            "Which of the two tokens earned the reward, and which one is trained?",
            "A reward at the end belongs to every token of the answer."),
        Bug("groups are read down, over prompts",
            "R.shape[1]\n    others = (R.sum(1, keepdim=True) - R)",
            "R.shape[0]\n    others = (R.sum(0, keepdim=True) - R)", "a",
            "Whose rewards are averaged: those of answers to one prompt?",
            "An answer is compared with others to the same prompt."),
    ),
    hints=("Take one step by hand: R, then A, then the sign of each push.",
           'Lesson 14, "One equation".',
           "R = 1 0 0 1   ->   A = 0.667 -0.667 -0.667 0.667"),
)]
