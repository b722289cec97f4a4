"""The right function of ex00.py, and common mistakes."""
from lessons.tasks.task import Task


def net_push(chosen, rejected):
    return [int(chosen[:i + 1] != rejected[:i + 1]) for i in range(len(chosen))]


def answers(draw):
    words = ["bee", "end"]
    begin = draw.choices(words, k=draw.randint(0, 2))
    return tuple(begin + draw.choices(words, k=draw.randint(1, 4)) for _ in range(2))


TASKS = {"00a": Task(net_push, answers, [
    ("chosen[:i + 1] != rejected[:i + 1]", "chosen[i:i + 1] != rejected[i:i + 1]",
     "The same token at the same place, but after different tokens, gets two different pushes. "
     "Neither takes the other back."),
    ("chosen[:i + 1] != rejected[:i + 1]", "chosen[i] not in rejected",
     "A token may occur in both answers, but after different tokens. That is another push."),
    ("int(chosen[:i + 1] != ", "int(chosen[:i + 1] == ", "0 and 1 are exchanged."),
    ("int(chosen[:i + 1] != rejected[:i + 1])", "1",
     "Where both answers begin alike, the push is taken back: 0."),
    ("chosen[:i + 1] != rejected[:i + 1]) for i in range(len(chosen))",
     "a != b) for a, b in zip(chosen, rejected)", "A token belongs to all tokens before it, not to "
     "its place, and zip ends where the shorter answer does.")],
    always=[(["bee", "cat", "end"], ["bee", "end"]), (["bee", "end"], ["bee", "end"]),
            (["bee", "cat", "end"], ["bee"]),
            (["bee", "end", "bee", "bee", "bee"], ["end", "bee", "bee", "bee", "bee"])])}
