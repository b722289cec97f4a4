"""Common mistakes of the part chord_loss: mistakes.py says how they are used."""
Mistake = tuple[str, str, str]

TOKENS = "-(p * (1 - p) * logp * mask).sum() / mask.sum()"
ANSWERS = "((each * mask).sum(-1) / mask.sum(-1)).mean()"
MIXED = "(1 - w) * explore + w * imitate"

CHORD: list[Mistake] = [
    ("fallen = (1 + math", "fallen = (1 - math", "The weight of imitation rises. It falls, from MU "
     "at step 0 to MU_END."),
    ("MU_END + (MU - MU_END) * fallen", "MU * fallen", "The weight ends at 0. It ends at MU_END."),
    ("MU_END + (MU - MU_END) * fallen", "MU", "The weight stays at MU. It falls to MU_END."),
    ("min(1, step / FALL)", "step / FALL", "After FALL steps the weight rises again. It stays at "
     "MU_END."),
    ("(1 + math.cos(math.pi * min(1, step / FALL))) / 2", "1 - min(1, step / FALL)", "The weight "
     "falls in a straight line. It follows half a cosine."),
    (MIXED, "w * explore + (1 - w) * imitate", "w belongs to imitation, and 1 - w to "
     "exploration."),
    (MIXED, "explore + w * imitate", "Exploration has the weight 1 - w, not 1."),
    (MIXED, "(1 - w) * explore + imitate", "Imitation has the weight w, not 1."),
    ("p = logp.detach().exp()", "p = logp.exp()", "Gradient flows through p (1 - p), which is a "
     "constant: detach p."),
    ("p * (1 - p) * logp", "logp", "The weight p (1 - p) of a demonstration's tokens is missing."),
    ("p * (1 - p) * logp", "p * logp", "A token weighs p. It weighs p (1 - p), so a known one is "
     "spared as well."),
    ("p * (1 - p) * logp", "(1 - p) * logp", "A token weighs 1 - p. It weighs p (1 - p), so a "
     "hopeless one is spared as well."),
    (TOKENS, "-((p * (1 - p) * logp * mask).sum(-1) / mask.sum(-1)).mean()", "Imitation takes the "
     "mean of each row first, as a loss would that sees one row at a time. Take the mean over all "
     "tokens of the step at once."),
    (TOKENS, "-(p * (1 - p) * logp).mean()", "Questions and padding of the demonstrations count as "
     "well. Use the mask."),
    (TOKENS, "(p * (1 - p) * logp * mask).sum() / mask.sum()", "The sign of imitation is wrong: "
     "the demonstrations become less likely."),
    ("each = -(logp", "each = (logp", "The sign of exploration is wrong: answers that are better "
     "than the mean become less likely."),
    ("centred = score - score.mean(-1, keepdim=True)", "centred = score", "The scores are not "
     "compared with the mean of their prompt."),
    ("centred / (score.std(-1, keepdim=True) + 1e-4)", "centred", "The standard deviation is "
     "missing."),
    ("(logp - logp.detach())", "(logp - logp)", "The ratio has no gradient, because pi_old is "
     "not a constant. Detach it."),
    (ANSWERS, "(each * mask).sum() / mask.sum()", "Exploration takes the mean over all tokens at "
     "once. First take that of each answer."),
]
