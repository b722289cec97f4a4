"""The right functions of ex02.py, and common mistakes."""
import math

import torch

from lessons.tasks.call import gradient
from lessons.tasks.task import Task


def response_mask(tokens):
    mask, speaker = [], ""
    for token in tokens:
        header = token in ("user", "assistant")
        speaker = token if header else speaker
        mask.append(int(speaker == "assistant" and not header))
    return mask[1:]


def conversation(draw):
    """A chat, perhaps cut off: either of the two may say "end", an answer ends with it, and each
    may have several turns, one after the other."""
    chat = []
    for _ in range(draw.randint(1, 3)):
        for _ in range(draw.choice([1, 1, 2])):
            chat += ["user", *draw.choices(["hi", "end"], k=draw.randint(0, 2))]
        for _ in range(draw.choice([1, 1, 2])):
            chat += ["assistant", *draw.choices(["yo", "end"], k=draw.randint(0, 2)), "end"]
    return (chat[:draw.randint(2, len(chat))],)


def sft_loss(logp, mask, reduction):
    losses = -logp.masked_fill(mask == 0, 0)
    if reduction == "token":
        return losses.sum() / mask.sum()
    return (losses.sum(1) / mask.sum(1)).mean()


def batch(draw):
    B, T = draw.randint(1, 3), draw.randint(2, 5)
    logp, mask = draw.numbers(-3, 0, B, T), draw.mask(B, T).float()
    if draw.random() < 0.3:
        logp[mask == 0] = -math.inf
    return logp, mask, draw.choice(["token", "sequence"])


TAIL = """    if reduction == "token":
        return losses.sum() / mask.sum()
    return (losses.sum(1) / mask.sum(1)).mean()"""
LOGP = torch.tensor([[-2.0, 0, 0, 0], [-1, -1, -1, -1]])
MASK = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]])
TASKS = {
    "02a": Task(response_mask, conversation, [
        ("mask[1:]", "mask[:-1]", "There is no shift. Target i is token i + 1, so leave out the "
         "number of the first token, not of the last."),
        ("mask[1:]", "mask", "The targets are the row without its first token."),
        (" and not header", "", "A header does not count, even that of the assistant."),
        ('header else speaker\n', 'header and speaker != "assistant" else speaker\n', "What the "
         "user says after the first answer counts as well. Each header says who speaks from there "
         "on."),
        ("        speaker = ", '        mask = [0] * len(mask) if token == "assistant" else mask\n'
         "        speaker = ", "Only the last turn of the assistant counts. All of its turns "
         "should."),
        ("and not header))\n", 'and not header))\n        speaker = "" if token == "end" else '
         "speaker\n", 'The assistant may say "end" and go on. It speaks until the next header.'),
        ('header = token in ("user", "assistant")',
         'header = token == "user" or token == "assistant" != speaker',
         "Each header is left out, even if the same speaker has just had a turn."),
        ("not header", 'not header and token != "end"',
         "The end of what the assistant says counts: it has to learn to stop."),
        ("int(speaker", 'int(token == "end" or speaker', "The end of what the user says does not "
         "count.")], always=[
             (["user", "hi", "assistant", "yo", "end"],),
             (["user", "assistant", "end", "yo", "end", "user", "hi"],)]),
    "02b": Task(sft_loss, batch, [
        ("-logp.masked_fill(mask == 0, 0)", "-logp * mask",
         "Where the mask is 0, logp may be -inf, and 0 times infinity is nan."),
        ("-logp.masked_fill(mask == 0, 0)", "-logp.nan_to_num().log_softmax(-1) * mask", "logp is "
         "a log-probability already. There is no further softmax."),
        ("-logp.masked_fill(mask == 0, 0)", "-logp.clamp(min=-1e9) * mask", "Where the mask is 0, "
         "logp may be nan as well. Leave these out in place of multiplying them by 0."),
        ("-logp.masked_fill(mask == 0, 0)", "-logp", "Targets count where the mask is 0."),
        ("(losses.sum(1) / mask.sum(1)).mean()", "losses.sum() / mask.sum()",
         'With "sequence" each row has the same share, however long it is.'),
        ("return (losses.sum(1) / mask.sum(1)).mean()", "return losses.mean()",
         "The mean of a row is that over its counted tokens, not over all T."),
        ("losses.sum() / mask.sum()", "losses.mean()", 'With "token" the mean is that over the '
         "counted tokens, not over all positions: padding and prompt make it smaller."),
        (TAIL, "    return losses.mean()", "The mean is that over all positions, and padding and "
         "prompt make it smaller. Divide by the number of counted tokens."),
        ("(losses.sum(1) / mask.sum(1)).mean()", "losses.sum(1).mean()", 'With "sequence" the '
         "losses of a row are added up. Take the mean over its counted tokens."),
        ('reduction == "token"', 'reduction != "token"', "The two kinds of mean are swapped."),
        ("-logp.masked_fill", "logp.masked_fill", "The sign is wrong: a loss is -logp."),
        ("return losses.sum()", "return losses.detach().sum()", "The values are right, but no "
         'gradient reaches logp with "token". Stay in torch: .item() and float() cut it off.')],
        gradient("logp"), always=[
            (LOGP, MASK, "token"), (LOGP, MASK, "sequence"),
            (LOGP.masked_fill(MASK == 0, -math.inf), MASK, "token"),
            (LOGP.masked_fill(MASK == 0, math.nan), MASK, "sequence")])}
