"""The right functions of ex12.py, and common mistakes."""
import statistics

import torch
import torch.nn.functional as F

from lessons.exercise import Exercise


def answers_needed(p, share):
    K = 2
    while 1 - p ** K - (1 - p) ** K < share:
        K += 1
    return K


def chance_and_share(draw):
    return (draw.choice([0.05, 0.1, 0.3, 0.5, 0.8, 0.9]), draw.choice([0.3, 0.6, 0.85, 0.95]))


def grpo_push(logp, old, ref, A, eps, beta):
    rho = (logp - old).exp()
    plain = rho * A <= rho.clamp(1 - eps, 1 + eps) * A
    return rho * A * plain + beta * ((ref - logp).exp() - 1)


def tokens(draw):
    T = draw.randint(1, 3)
    old, A = draw.numbers(-3, -1, T), draw.numbers(-2, 2, T)
    return (old + draw.numbers(-0.6, 0.6, T), old, old + draw.numbers(-1, 1, T), A,
            draw.choice([0.1, 0.2]), draw.choice([0.04, 0.3]))


def grpo_step(model, optimizer, prompts, sample, score, K):
    losses, scores, sizes = [], [], []
    for prompt in prompts:
        answers = [sample(prompt) for _ in range(K)]
        R = [score(prompt, answer) for answer in answers]
        for reward, answer in zip(R, answers):
            A = (reward - statistics.mean(R)) / (statistics.stdev(R) + 1e-4)
            logits = model(torch.tensor([prompt + answer]))[0, len(prompt) - 1:-1]
            losses.append(A * F.cross_entropy(logits, torch.tensor(answer)))
            sizes.append(len(answer))
        scores += R
    optimizer.zero_grad()
    torch.stack(losses).mean().backward()
    optimizer.step()
    return statistics.mean(scores)


def prompts_and_answers(draw):
    K, prompts = draw.randint(2, 4), draw.sample([[1, 2], [3, 4], [2, 3]], draw.randint(1, 2))
    answers = {tuple(p): [draw.choices([1, 2, 3, 4], k=draw.randint(0, 3)) + [0] for _ in range(K)]
               for p in prompts}
    turn = {p: iter(some) for p, some in answers.items()}
    scores = {(p, tuple(a)): draw.choice([0.0, 0.2, 0.7, 1.0])
              for p, some in answers.items() for a in some}
    model = torch.nn.Embedding.from_pretrained(draw.numbers(-2, 2, 5, 5), freeze=False)
    model.weight.grad = torch.ones(5, 5)                        # of an earlier step

    def sample(prompt):
        """Alike for each order of prompts."""
        return list(next(turn[tuple(map(int, prompt))]))

    def score(prompt, answer):
        return scores[tuple(map(int, prompt)), tuple(map(int, answer))]
    return model, torch.optim.SGD([model.weight], lr=0.5), prompts, sample, score, K


def look(function, model, *args):
    before = model.weight.detach().clone()
    return {"gives": function(model, *args), "moves the weights by": model.weight - before}


ANSWER = "model(torch.tensor([prompt + answer]))[0, len(prompt) - 1:-1]"
EXERCISES = {
    "12a": Exercise(answers_needed, chance_and_share, [
        (" - p ** K", "", "The scores are also all equal if all answers are right."),
        (" - (1 - p) ** K", "", "The scores are also all equal if all answers are wrong."),
        ("return K", "return K + 1", "One answer less is enough as well.")]),
    "12b": Exercise(grpo_push, tokens, [
        ("((ref - logp).exp() - 1)", "(1 - (ref - logp).exp())", "The derivative of e^d - d - 1 by "
         "d is e^d - 1, and d falls as logp rises. So a token that the reference finds likelier is "
         "pushed up."),
        ("return rho * A * plain", "return A * plain", "The derivative of rho by logp is rho."),
        ("rho * A <= rho.clamp(1 - eps, 1 + eps) * A", "(rho - 1).abs() <= eps", "A clipped ratio "
         "is not always a constant: the smaller of both gains counts."),
        (" * plain", "", "Where the clipped gain is the smaller one, it is a constant and pushes "
         "nothing."),
        ("return rho * A * plain", "return -rho * A * plain", "The sign of the first part is "
         "wrong: a push is minus the derivative of the loss, and the loss holds -min."),
        (" + beta * ((ref - logp).exp() - 1)", "", "The penalty's push is missing.")]),
    "12c": Exercise(grpo_step, prompts_and_answers, [
        ("    optimizer.zero_grad()\n", "", "The gradient of an earlier step was still there. "
         "optimizer.zero_grad() takes it away."),
        ("    optimizer.step()\n", "", "No weight has changed. optimizer.step() moves them."),
        ("losses.append(A", "losses.append(-A", "The sign is wrong: answers that are better than "
         "the mean become less likely."),
        (ANSWER, "model(torch.tensor([prompt + answer]))[0, len(prompt):]", "The logits at a token "
         "say what follows it. Those of the answer's first token stand one position before it."),
        (f"{ANSWER}\n            losses.append(A * F.cross_entropy(logits, torch.tensor(answer)))",
         "model(torch.tensor([prompt + answer]))[0, :-1]\n            losses.append(A * "
         "F.cross_entropy(logits, torch.tensor((prompt + answer)[1:])))", "The tokens of the "
         "prompt count as well. The mean is that over the answer's tokens alone."),
        ("torch.tensor(answer)))", "torch.tensor(answer), reduction='sum'))", "The tokens of an "
         "answer are added up. Take their mean."),
        ("torch.stack(losses).mean()", "(torch.stack([x * n for x, n in zip(losses, sizes)])"
         ".sum() / sum(sizes))", "The mean is taken over all tokens of the step at once. First "
         "take that of each answer."),
        ("statistics.stdev", "statistics.pstdev", "The standard deviation is that divided by K, "
         "not K - 1."),
        (" / (statistics.stdev(R) + 1e-4)", "", "The standard deviation is missing."),
        ("losses.append(A *", "losses.append(reward *", "The scores are not compared with their "
         "mean.")], look)}
