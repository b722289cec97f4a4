"""The right program of mine.py is nanouft/simple.py; these are common mistakes in its parts."""
from lessons.behind.tasks.simple_parts import Part
from lessons.behind.tasks.task import Mistake

BY_ROW = "((logp * mask).sum(-1) / mask.sum(-1)).mean()"
MEANS = "((weight * nll).sum(-1) / n[:, 0]).mean()"
OF_MASK = """[mask + [0] * (longest - len(mask)) for _, mask in chats])
    return ids[:, :-1], ids[:, 1:], mask[:, 1:]"""
GUESS = "torch.where(mask[:, :-1] == 1, predicted_next[:, :-1], inputs[:, 1:])"
FACTOR = "factor = (step + 1) / warmup "
LESS_LIKELY = "The sign is wrong: the answers become less likely."
ADDED_UP = "The losses of the answers are added up. Take their mean."
ROUNDED = ("Where the model has moved far, the sigmoid is rounded to 0 and its logarithm is -inf. "
           "Use F.logsigmoid.")
SUMMED = (".mean()", ".sum()", ADDED_UP)
NO_LOGARITHM = ("F.logsigmoid(", "torch.sigmoid(", "The logarithm is missing.")
SWAPPED = "The two models have changed places. log_ratio takes first the model that is trained."
TOKENS = "-(p * (1 - p) * logp * mask).sum() / mask.sum()"
ANSWERS = "((losses * mask).sum(-1) / mask.sum(-1)).mean()"
MIXED = "(1 - w) * explore + w * imitate"
UNMASKED = "The question and the padding count as well. Use the mask."
AT_ONCE = "The mean is that over all tokens of the batch at once. First take that of each answer."
NO_MEAN = "The losses of an answer are added up. Take their mean."

OF_SCORES: list[Mistake] = [
    ("centred = score - score.mean(-1, keepdim=True)", "centred = score", "The scores are not "
     "compared with the mean of their prompt."),
    ("centred / (score.std(-1, keepdim=True) + 1e-4)", "centred", "The standard deviation is "
     "missing."),
    (" + 1e-4", "", "The 0.0001 is missing. Without it equal scores are divided by "
     "a standard deviation of 0."),
    (" + 1e-4", " + 1e-8", "The number that is added to the standard deviation is 0.0001."),
]
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
    ("losses = -adv", "losses = adv", "The sign of exploration is wrong: answers that are "
     "better than the mean become less likely."),
    *OF_SCORES,
    (ANSWERS, "(losses * mask).sum() / mask.sum()", "Exploration takes the mean over all tokens at "
     "once. First take that of each answer."),
]
MISTAKES: dict[str, list[Mistake]] = {
    "padded": [
        ("ids[:, 1:]", "ids[:, :-1]", "The targets are not shifted: that of a position is the "
         "token after it."),
        ("mask[:, 1:]", "mask[:, :-1]", "The mask belongs to the targets: leave out its first "
         "number, not its last."),
        (OF_MASK, OF_MASK.replace("mask +", "mask[:-1] +").replace("mask[:, 1:]", "mask"),
         "The mask of a row belongs to its targets: leave out its first number, not its last."),
        ("mask + [0] *", "mask + [1] *", "The mask has to be 0 on the padding."),
        ("[tok.pad] *", "[0] *", "The padding is 0, which is the id of a word. Fill with tok.pad."),
        ("mask + [0] *", "mask[:-1] + [0] + [0] *", "The <|end|> of an answer does not count. It "
         "should, or the model does not learn to stop."),
        ("return ids[:, :-1]", "return torch.where(ids[:, 1:] == tok.pad, tok.pad, ids[:, :-1])",
         "The <|end|> of a shorter row is not read. Cut off the last token of the longest row "
         "alone."),
        ("ids + [tok.pad] * (longest - len(ids))", "[tok.pad] * (longest - len(ids)) + ids",
         "The ids are padded on the left, so the words stand at other positions. Pad on the "
         "right."),
        ("mask + [0] * (longest - len(mask))", "[0] * (longest - len(mask)) + mask",
         "The mask is padded on the left. Pad on the right."),
        ("mask + [0]", "[1] * len(mask) + [0]", "The question counts as well. Use the mask of each "
         "row."),
        ("ids[:, :-1], ids[:, 1:], mask[:, 1:]",
         "ids, F.pad(ids[:, 1:], (0, 1), value=tok.pad), mask", "Nothing is cut off. Leave out the "
         "last token of the inputs, and the first number of the mask, which belongs to the "
         "targets.")],
    "token_logp": [
        ("log_softmax(-1)", "softmax(-1)", "These are probabilities. The logarithm is missing."),
        ("return logits", "return -logits", "The sign is wrong: a log-probability is never above "
         "0, whereas F.cross_entropy gives minus log p."),
        ("log_softmax(-1)", "log_softmax(1)", "The softmax is that over the vocabulary, the last "
         "dimension."),
        ("logits.float().log_softmax(-1)", "logits.softmax(-1).log_softmax(-1)",
         "The softmax is taken twice."),
        ("logits.float().log_softmax(-1)", "logits.softmax(-1).log()",
         "A small probability is rounded to 0, and its logarithm is -inf. Use log_softmax."),
        ("logits.float().log_softmax(-1)", "logits",
         "These are the logits themselves. They become log-probabilities by log_softmax."),
        ("logits.float().log_softmax(-1)", "(logits.log_softmax(-1) / math.log(2))",
         "These are bits. Take the natural logarithm."),
        (")[..., 0]", ")", "The shape is (B,T,1), because gather keeps its dimension. Take it away "
         "by squeeze(-1) or [..., 0].")],
    "sft_loss": [
        ("return -(", "return (", LESS_LIKELY),
        (BY_ROW, "(logp * mask).mean()", "The mean is over all positions. Take that over the "
         "answer's tokens."),
        (BY_ROW, "(logp * mask).sum() / mask.sum()", AT_ONCE),
        (BY_ROW, "(logp * mask).sum(-1).mean()", NO_MEAN),
        (BY_ROW, BY_ROW.replace(".mean()", ".sum()"), ADDED_UP),
        ("(logp * mask).sum(-1) / mask.sum(-1)", "logp.mean(-1)", UNMASKED),
        ("model.head(model(inputs))", "reference.head(reference(inputs))", "The reference is "
         "asked, not the model."),
        ("mask = tokens(rows, \"answer\", tok)", "mask = tokens(rows, \"answer\", tok)\n"
         "    mask = F.pad(mask[:, 1:], (0, 1))", "The mask is shifted. It already belongs to the "
         "targets."),
        ("model(inputs)), targets)", "model(inputs)), targets).detach()", "A detach(), item() or "
         "no_grad() cuts the gradient off."),
        ("model(inputs)), targets", "model(inputs)), inputs", "The log-probabilities are those of "
         "the inputs. Take those of the targets.")],
    "train": [
        ("        optimizer.zero_grad()\n", "", "The gradients of earlier steps were still there. "
         "optimizer.zero_grad() takes them away."),
        ("        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n", "", "The gradient "
         "is not clipped. clip_grad_norm_ belongs between loss.backward() and optimizer.step()."),
        ("clip_grad_norm_", "clip_grad_value_", "Each number of the gradient is cut off by itself "
         "(clip_grad_value_), which changes its direction. Scale all of them together, by "
         "clip_grad_norm_."),
        ("torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
         "[torch.nn.utils.clip_grad_norm_([p], 1.0) for p in model.parameters()]", "Each tensor is "
         "clipped by its own norm. The norm is that of all gradients together."),
        ("torch.nn.utils.clip_grad_norm_(",
         "[p.grad.mul_(1e6) for p in model.parameters()]\n        torch.nn.utils.clip_grad_norm_(",
         "Each gradient is scaled to the norm 1. One that is shorter should stay as it is."),
        ("        scaler.step(optimizer) ", "        # ", "The weights have not moved. Either "
         "optimizer.step() is missing, or zero_grad() stands between loss.backward() and it."),
        ("copy.deepcopy(model)", "model", "The reference changes with the model: it is no copy, or "
         "one made anew in each step. Make one copy before the first step."),
        ("    if reference is None:\n    ", "", "The reference that is given is not used."),
        ("rows[step * ROWS:(step + 1) * ROWS]", "rows[:ROWS]", "Each step learns from the same "
         "rows. Step k begins at row k * ROWS."),
        ("rows[step * ROWS:(step + 1) * ROWS]", "rows", "Each step learns from all rows. It should "
         "take ROWS of them."),
        (", tok, step)", ", tok, 0)", "The loss is not told the step."),
        (FACTOR, "factor = 1.0 ", "There is no warm-up: the first steps have a smaller rate."),
        (FACTOR, "factor = step / warmup ", "The warm-up is one step late: step 0 has the rate "
         "times 1 / warmup, not 0."),
        ("round(0.1 * steps)", "int(0.1 * steps)", "The warm-up is rounded down. Take the nearest "
         "whole number of steps."),
        ("round(0.1 * steps)", "math.ceil(0.1 * steps)", "The warm-up is rounded up. Take the "
         "nearest whole number of steps."),
        ("if step >= warmup:", "if False:", "The rate does not fall after the warm-up."),
        ("0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))",
         "1 - (step - warmup) / max(1, steps - warmup)", "The rate falls in a straight line. It "
         "should follow half a cosine."),
        ("math.pi * (step - warmup) / max(1, steps - warmup)", "math.pi * step / steps",
         "The cosine begins at step 0. It should begin at the end of the warm-up."),
        ('optimizer.param_groups[0]["lr"] = factor * lr', "pass", "The optimizer does not get "
         "the rate of this step."),
        (", betas=(0.9, 0.95)", "", "These are AdamW's own betas. They should be (0.9, 0.95)."),
        (", weight_decay=0.0", "", "There is weight decay, because AdamW's own is 0.01."),
        ("loss.item()", "loss", "The losses are tensors, which keep their graphs in memory. "
         "loss.item() makes plain numbers of them.")],
    "log_ratio": [
        (".detach()", "", "Gradient reaches the reference, which is a constant: detach() its "
         "log-probabilities, or ask it under torch.no_grad()."),
        (" - before", "", "The reference is missing."),
        ("reference.head(reference(inputs))", "model.head(model(inputs))", "Both "
         "log-probabilities are the model's. Subtract those of the reference."),
        ("- before) * mask", "- before)", UNMASKED),
        ("* mask).sum(-1)", "* mask).sum(-1) / mask.sum(-1)", "The log-ratio of an answer is the "
         "sum over its tokens, not the mean."),
        ("* mask).sum(-1)", "* mask).mean(-1)", "The log-ratio is the mean over all positions of "
         "the row. Take the sum over the answer's tokens."),
        ("((token_logp(model.head(model(inputs)), targets) - before) * mask).sum(-1)",
         "token_logp(model.head(model(inputs)), targets).sum(-1) - (before * mask).sum(-1)",
         "The sum of the model's log-probabilities runs over question and padding as well. Only "
         "that of the reference is masked."),
        (" - before", " + before", "The reference is added. Subtract it."),
        ("token_logp(model.head(model(inputs)), targets) - before",
         "before - token_logp(model.head(model(inputs)), targets)", "The log-ratio is upside "
         "down: the model's minus the reference's."),
        ("tokens(rows, side, tok)", 'tokens(rows, "chosen" if side == "rejected" else side, tok)',
         "It does not read the answer that `side` names."),
        ("mask.sum(-1)\n", "(mask >= 0).sum(-1)\n", "The second number should count the tokens of "
         "the answer alone.")],
    "dpo_loss": [
        ("-F.logsigmoid", "F.logsigmoid", "The sign is wrong. The loss is minus log sigmoid."),
        ("chosen - rejected", "rejected - chosen", "h is the chosen answer's log-ratio minus the "
         "other's, not the other way round."),
        ("log_ratio(model, reference", "log_ratio(reference, model", SWAPPED),
        ("BETA * ", "", "BETA is missing."),
        ("BETA * ", "BETA * BETA * ", "The difference is multiplied by BETA twice."),
        ("-F.logsigmoid(BETA * (chosen - rejected)).mean()", "-torch.sigmoid(BETA * (chosen - "
         "rejected)).mean().log()", "The mean is taken before the logarithm. Take the mean of the "
         "losses."),
        ("-F.logsigmoid(BETA * (chosen - rejected))",
         "-torch.log(torch.sigmoid(BETA * (chosen - rejected)))", ROUNDED),
        ("chosen, _", "_, chosen", "log_ratio gives the log-ratio first and the number of tokens "
         "second."),
        ("-F.logsigmoid(BETA * (chosen - rejected))", "-F.logsigmoid(BETA * chosen)",
         "The rejected answer is missing."),
        ("-F.logsigmoid(BETA * (chosen - rejected))", "-BETA * (chosen - rejected)",
         "The log sigmoid is missing."),
        NO_LOGARITHM,
        ('"rejected", tok)', '"rejected", tok)\n    rejected = rejected.detach()', "Gradient flows "
         "through the chosen answer alone. It should flow through the rejected one as well."),
        ('"rejected", tok)', '"rejected", tok)\n    chosen, rejected = (nats / n for nats, n in '
         '(log_ratio(model, reference, rows, side, tok) for side in ("chosen", "rejected")))',
         "The log-ratios are divided by the numbers of "
         "tokens. DPO takes the sums."),
        (").mean()", ").sum()", "The losses of the pairs are added up. Take their mean.")],
    "una_loss": [
        ("log_ratio(model, reference", "log_ratio(reference, model", SWAPPED),
        ("BETA * nats", "nats", "BETA is missing."),
        ("torch.sigmoid(BETA * nats)", "BETA * nats", "The sigmoid is missing."),
        ("1.0 if row.score is None", "0.0 if row.score is None", "A demonstration, whose score is "
         "None, counts as score 1."),
        ("1.0 if row.score is None else row.score", "row.score or 1.0", "A score of 0 counts as 1, "
         "because Python takes 0 for false. Ask whether the score is None."),
        ("row.score for", "float(row.score == 1) for", "A score may lie between 0 and 1. It should "
         "not be rounded to right or wrong."),
        (".square()", ".abs()", "The difference should be squared."),
        (".square().mean()", ".square().mean() / 2", "The square is halved. UNA takes the whole "
         "one."),
        ("(torch.sigmoid(BETA * nats) - score).square()", "F.binary_cross_entropy_with_logits("
         "BETA * nats, score)", "This is the cross-entropy. UNA takes the squared difference."),
        ("torch.sigmoid(BETA * nats)", "torch.sigmoid(-BETA * nats)", "The sign in the sigmoid is "
         "wrong: a more likely answer has a higher score."),
        SUMMED],
    "poft_loss": [
        ("-F.logsigmoid(nats / n)", "F.logsigmoid(nats / n)", "The sign is wrong. The loss is "
         "minus log sigmoid."),
        ("log_ratio(model, aligned", "log_ratio(aligned, model", SWAPPED),
        ("nats / n", "nats", "h is a mean over the tokens of the answer, not a sum."),
        ("nats / n", "BETA * nats / n", "PoFT has no beta."),
        ("nats / n", "-nats / n", "h is the model's minus the helper's, not the other way "
         "round."),
        ("-F.logsigmoid(nats / n)", "-torch.log(torch.sigmoid(nats / n))", ROUNDED),
        ("-F.logsigmoid(nats / n)", "-(nats / n)", "The log sigmoid is missing."),
        NO_LOGARITHM,
        ("(nats / n).mean()", "(nats.sum() / n.sum())", "The mean is taken over all tokens of the "
         "batch at once. Each answer has an h of its own."),
        SUMMED],
    "mix_in_own_guess": [
        ("@torch.no_grad()\n", "", "Gradient flows through the mixture into the embeddings. Make "
         "it under torch.no_grad(), or detach() it."),
        ("predicted_next[:, :-1]", "predicted_next[:, 1:]", "The prediction made AT a position is "
         "FOR the next one, so it has to move to the right by one."),
        ("mask[:, :-1] == 1", "mask[:, 1:] == 1", "The mask is about targets: the token at "
         "position i is in the answer if the mask is 1 at position i - 1."),
        ("mask[:, :-1] == 1", "F.pad(mask[:, 2:], (0, 1)) == 1", "The mask is shifted the wrong "
         "way. It moves to the right by one, as the prediction does."),
        (GUESS, "torch.where(mask[:, 1:] == 1, predicted_next[:, 1:], inputs[:, 1:])", "Nothing is "
         "shifted: prediction and mask at a position belong to the token of the next one."),
        (GUESS, GUESS.replace("inputs[:, 1:]", "inputs[:, :-1]"), "The true tokens are shifted as "
         "well. Only the predictions move to the right; outside the answer each token stays where "
         "it is."),
        (GUESS, "predicted_next[:, :-1]", "Outside the answer the true tokens stay."),
        ("(1 - LAM) * model.wte(inputs) + LAM *",
         "LAM * model.wte(inputs) + (1 - LAM) *", "LAM belongs to the prediction "
         "and 1 - LAM to the true token."),
        ("(1 - LAM) * model.wte(inputs) + LAM *", "", "The prediction replaces the "
         "true token. Only a share LAM of it is mixed in."),
        ("(1 - LAM) * model", "model", "The true token's share is 1 - LAM, not 1.")],
    "ift_loss": [
        (".detach()", "", "Gradient flows through the weights, which should be constants."),
        ("GAMMA * future", "GAMMA ** 2 * future", "The next loss counts GAMMA squared. It should "
         "count GAMMA, and the one after that GAMMA squared."),
        ("GAMMA * future", "future", "Later losses are not discounted by GAMMA."),
        ("nll[:, t].detach() + GAMMA * future", "nll[:, t].detach()", "The later losses are "
         "missing in the weights."),
        ("nll[:, t].detach() + GAMMA * future                # own loss + discounted later\n"
         "        weight[:, t] = future * mask[:, t]                          # a constant: no "
         "gradient",
         "nll[:, t].detach() + GAMMA * future\n        weight[:, t] = (future - "
         "nll[:, t].detach()) * mask[:, t]", "The token's own loss is missing in its weight."),
        ("reversed(range(nll.shape[1]))", "range(nll.shape[1])", "The weights look back. A token "
         "weighs by what follows it, so go through the answer from its end."),
        ("future * mask[:, t]", "future", "The tokens before the answer have weights as well, and "
         "count in the mean of the weights. Use the mask."),
        ("weight * n / weight.sum(-1, keepdim=True)", "weight", "The weights of an answer should "
         "have the mean 1: divide them by their mean."),
        ("weight * n / weight.sum(-1, keepdim=True)", "weight / weight.sum(-1, keepdim=True)",
         "The weights of an answer add up to 1. Their mean should be 1."),
        ("weight * n / weight.sum(-1, keepdim=True)", "weight / weight.mean(-1, keepdim=True)",
         "The mean of the weights is taken over the whole row. Take that over the answer's own "
         "tokens, or an answer counts more if there is a long question or padding."),
        ("weight * n / weight.sum(-1, keepdim=True)", "weight * n.sum() / weight.sum()", "The "
         "weights are divided by their mean in the whole batch. Divide those of each answer by "
         "their own."),
        ("weight * n / weight.sum(-1, keepdim=True)", "mask", "There are no weights."),
        ("embeds=embeds", "inputs", "The model reads the true tokens and not mix_in_own_guess."),
        ("mix_in_own_guess(model, inputs, mask)", "model.wte(inputs).detach()",
         "No prediction is mixed in: the model reads the embeddings of the true tokens."),
        ("targets) * mask", "targets)", "The losses of the padding count in the weights. Multiply "
         "the losses by the mask before you add them up."),
        (MEANS, "(weight * nll).sum() / mask.sum()", AT_ONCE),
        (MEANS, "(weight * nll).sum(-1).mean()", NO_MEAN),
        (MEANS, MEANS.replace(".mean()", ".sum()"), ADDED_UP),
        (MEANS, "-" + MEANS, LESS_LIKELY)],
    "sample_answers": [
        ("answer.ids + [tok.end] * answer.ended", "answer.ids", "The <|end|> of an answer is left "
         "out. It was sampled, so it counts."),
        ("[tok.end] * answer.ended", "[tok.end]", "An answer that was cut off after 44 tokens gets "
         "an <|end|> that nobody sampled."),
        ("[0] * len(prompt) +", "[1] * len(prompt) +", "The prompt counts as well. Only what was "
         "sampled does."),
        ("for row in rows for _ in range(SAMPLES)", "for _ in range(SAMPLES) for row in rows",
         "Answers to one prompt are neighbours. Repeat each row, not the list of rows."),
        (".view(-1, SAMPLES)", ".view(SAMPLES, -1).T", "The scores stand in another order than the "
         "answers."),
        ("tok, 1.0,", "tok, 0.0,", "The likeliest token is taken. Draw each token by its "
         "probability.")],
    "grpo_loss": [
        ("-advantage * logp", "advantage * logp", "The sign is wrong: answers that are better "
         "than the mean become less likely."),
        *OF_SCORES,
        ("score - score.mean(-1, keepdim=True)", "score - score.mean()", "The mean is that of all "
         "prompts. Take that of each prompt."),
        ("score.std(-1, keepdim=True)", "score.std(-1, keepdim=True, unbiased=False)", "The "
         "standard deviation is that divided by SAMPLES, not SAMPLES - 1."),
        ("score.std(-1, keepdim=True)", "score.std()", "The standard deviation is that of all "
         "prompts. Take that of each prompt."),
        (".view(-1, 1)", ".T.reshape(-1, 1)", "The advantages stand in another order than the "
         "answers: all answers to the first prompt come first."),
        ("-advantage * logp", "-advantage * logp.exp()", "These are probabilities. The loss of a "
         "token is -A log p."),
        ("-advantage * logp ", "-score.view(-1, 1) * logp ", "The scores themselves multiply log "
         "p. Compare each with those of its prompt first."),
        (ANSWERS, "losses.mean()", UNMASKED),
        (ANSWERS, "(losses * mask).sum() / mask.sum()", AT_ONCE),
        (ANSWERS, "(losses * mask).sum(-1).mean()", NO_MEAN)],
    "chord_loss": CHORD}
TASKS = {name: Part(name, mistakes) for name, mistakes in MISTAKES.items()}
