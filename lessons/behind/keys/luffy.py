"""Common mistakes in luffy.md; the right program is lessons/evidence/luffy.py."""
from lessons.behind.tasks.papers import Paper
from lessons.evidence.luffy import LUFFY

TASKS = {"luffy": Paper(LUFFY,
    {"samples": [2, 3], "gamma": [0.002, 0.1]},
    [("(R.sum(-1, keepdim=True) + has * demo) / (samples + has)", "R.mean(-1, keepdim=True)",
      "The demonstration is missing in the mean of its group."),
     ("(samples + has)", "(samples + 1)", "A prompt without a demonstration has one answer less in "
      "its group."),
     ("(R - mean).flatten()", "((R - mean) / (R.std(-1, keepdim=True) + 1e-4)).flatten()",
      "The advantage is divided by the spread. LUFFY leaves that out."),
     ("(there * (demo - mean)).flatten()", "there.flatten()", "A demonstration's advantage is its "
      "reward minus the group's mean, not 1."),
     ("p / (p + gamma)", "p", "The probability is not shaped: f(p) = p / (p + gamma)."),
     ("p / (p + gamma)", "demo.logp", "The loss holds f(p), not log p."),
     ("p / (p + gamma)", "(p / (p + gamma)).detach() * demo.logp", "f(p) is differentiated itself. "
      "It is no weight of log p."),
     ("p / (p + gamma)", "p / (p + gamma).detach()", "Gradient should flow through both p of "
      "p / (p + gamma)."),
     ("rho * batch.per_row", "s.logp * batch.per_row", "Own answers have the ratio p / old, not "
      "log p."),
     ("explored = -", "explored = ", "The sign of your own answers' part is wrong."),
     ('batch.tokens["answer"] + batch.tokens["demo"]', 'batch.tokens["answer"]',
      "The tokens of the demonstrations are missing in Z."),
     ("all_tokens(batch), {}", '(batch.seqs["answer"].mask.sum() + '
      'batch.seqs["demo"].mask.sum()), {}', "Z is counted over the micro-batch. Take the totals "
      "of the whole step: batch.tokens."),
     ("explored + shaped(batch, self.gamma)", "explored", "The demonstrations are missing.")],
    whole_file=True)}
