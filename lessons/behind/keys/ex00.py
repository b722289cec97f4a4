"""The right function of ex00.py, and common mistakes."""
from lessons.behind.tasks.task import Task


def net_push(chosen, rejected):
    return [int(chosen[:i + 1] != rejected[:i + 1]) for i in range(len(chosen))]


def answers(draw):
    words = ["bee", "end"]
    begin = draw.choices(words, k=draw.randint(0, 2))
    return tuple(begin + draw.choices(words, k=draw.randint(1, 4)) for _ in range(2))


TASKS = {"00a": Task(net_push, answers, [
    ("range(len(chosen))", "range(min(len(chosen), len(rejected)))", "It stops at the end of the "
     "shorter answer, as zip does. Give one number for each token of chosen."),
    ("chosen[:i + 1] != rejected[:i + 1]", "chosen[i:i + 1] != rejected[i:i + 1]",
     "The same token at the same place, but after different tokens, gets two different pushes. "
     "Neither takes the other back."),
    ("chosen[:i + 1] != rejected[:i + 1]", "chosen[i] not in rejected",
     "A token may occur in both answers, but after different tokens. That is another push.")],
    always=[(["bee", "cat", "end"], ["bee", "end"]),
            (["bee"], ["bee"]), (["be"], ["bee"]),                      # equal, nothing in common
            (["bee", "end"], ["bee"]), (["bee"], ["bee", "end"]),       # a prefix of the other
            (["bee", "end", "end"], ["end", "bee", "end"]),             # other tokens before
            (["bee", "end"] + ["bee"] * 9, ["end", "bee"] + ["bee"] * 9)])}     # long ago
