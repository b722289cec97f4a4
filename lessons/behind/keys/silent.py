"""The right functions of piece silent, and common mistakes. The first mistake of the five that are
to be mended is the bug of a run."""
import torch
import torch.nn.functional as F

from lessons.behind.tasks.task import Task

STILL = "This is still the bug: "


def planted():
    return ["b", "d", "a", "g", "e"]


def of_letters(gives):
    """Neither the right letters nor the places of those that are right: the logs tell them."""
    right = planted()
    if not isinstance(gives, list) or len(gives) != len(right):
        return {"has right letters:": f"none, but {gives!r:.40}"}
    return {"has right letters:": sum(x == y for x, y in zip(gives, right))}


def answer_mask(starts, ends, T):
    t = torch.arange(T)
    return ((t >= starts[:, None]) & (t < ends[:, None])).float()


def next_token_loss(logits, ids, mask):
    logp = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return -(logp * mask[:, 1:]).sum() / mask[:, 1:].sum()


def pair_loss(chosen, rejected, ref_chosen, ref_rejected, beta):
    lead = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -F.logsigmoid(beta * lead).mean()


def own_scores(path, beta):
    return torch.sigmoid(beta * (path - path[0]))


def descend(w, slopes, rate, accumulate):
    total = torch.zeros_like(w)
    for k, slope in enumerate(slopes):
        total = total + slope / accumulate
        if (k + 1) % accumulate == 0:
            w = w - rate * total
            total = torch.zeros_like(w)
    return w


def starts_and_ends(draw):
    T = draw.randint(3, 6)
    ends = [draw.randint(2, T) for _ in range(draw.randint(1, 3))]
    return torch.tensor([draw.randint(1, x - 1) for x in ends]), torch.tensor(ends), T


def logits_and_ids(draw):
    B, T = draw.randint(1, 2), draw.randint(3, 5)
    mask = answer_mask(torch.tensor([draw.randint(1, 2) for _ in range(B)]), torch.tensor(
        [draw.randint(3, T) for _ in range(B)]), T)
    return draw.numbers(-3, 3, B, T, 4), draw.ids(B, T, 4), mask


def four_logps(draw):
    B = draw.randint(1, 3)
    return (*(draw.numbers(-9, -1, B) for _ in range(4)), draw.choice([0.1, 0.5]))


def slopes_of_steps(draw):
    C, accumulate = draw.randint(1, 2), draw.choice([1, 2, 3])
    slopes = [draw.numbers(-1, 1, C) for _ in range(accumulate * draw.randint(2, 3))]
    return draw.numbers(-1, 1, C), slopes, 0.5, accumulate


TASKS = {
    "silent: names": Task(planted, lambda draw: (), [], properties=of_letters, rounds=1,
                      text="    your five letters\n", opens=True),
    "silent: answer_mask": Task(answer_mask, starts_and_ends, [
        ("((t >= starts[:, None]) & (t < ends[:, None]))", "(t < starts[:, None])",
         STILL + "it marks the question."),
        (" & (t < ends[:, None])", "", "Padding counts as a part of the answer."),
        ("t >= starts", "t > starts", "The first token of the answer is left out.")]),
    "silent: next_token_loss": Task(next_token_loss, logits_and_ids, [
        ("logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])",
         "logits[:, 1:].log_softmax(-1).gather(-1, ids[:, 1:, None])", STILL + "a position is "
         "asked for the token that it has just read."),
        ("logits[:, :-1].log", "logits[:, :-1].softmax(-1).log", "The softmax is taken twice."),
        (" * mask[:, 1:]).sum() / mask[:, 1:].sum()",
         " * mask[:, :-1]).sum() / mask[:, :-1].sum()", "The mask is that of the "
         "ids. A position predicts the next one, so shift the mask, too."),
        ("(logp * mask[:, 1:]).sum() / mask[:, 1:].sum()", "(logp * mask[:, 1:]).mean()", "Divide "
         "by the tokens of the answers, not by all positions.")]),
    "silent: pair_loss": Task(pair_loss, four_logps, [
        ("(chosen - ref_chosen) - (rejected - ref_rejected)",
         "(rejected - ref_rejected) - (chosen - ref_chosen)", STILL + "the better and the worse "
         "answer are exchanged."),
        ("(chosen - ref_chosen) - (rejected - ref_rejected)", "chosen - rejected",
         "The initial model is missing."),
        ("(chosen - ref_chosen) - (rejected", "(chosen - ref_chosen) + (rejected", "Both answers "
         "are pushed up. Subtract what belongs to the worse one.")]),
    "silent: own_scores": Task(own_scores, lambda draw: (draw.numbers(-9, -1, 3, 2), 0.5), [
        ("path[0]", "path", STILL + "the model is compared with itself, so all scores are 1/2."),
        ("path[0]", "torch.cat([path[:1], path[:-1]])", "The reference is the model one step "
         "before. It stays the one at the start.")]),
    "silent: descend": Task(descend, slopes_of_steps, [
        ("            total = torch.zeros_like(w)\n", "", STILL + "what was summed up for one step "
         "is still there in the next."),
        ("slope / accumulate", "slope", "The gradient of a step is the mean of those of its "
         "micro-batches.")])}
