"""What the functions of ex12.py must do."""
import torch

from lessons.check import expect, same, shaped, show


def answers_needed(mine, draw):
    p, share = draw.choice([0.05, 0.1, 0.3, 0.5, 0.8, 0.9]), draw.choice([0.3, 0.6, 0.85, 0.95])
    got = mine(p, share)
    shaped(got, (), "The result is one number.")
    expect(got >= 2 and got == got.round(), f"The group has a whole number of answers, at least "
           f"two. Yours is {got:g}.")
    K = int(got)
    equal = [p ** n + (1 - p) ** n for n in (K, K - 1)]
    expect(1 - equal[0] >= share, f"All {K} answers are right with the probability {p ** K:.4f} "
           f"and all wrong with {(1 - p) ** K:.4f}. So their scores differ with the probability "
           f"{1 - equal[0]:.4f}, which is less than {share}.")
    expect(K == 2 or 1 - equal[1] < share, f"{K} answers are enough, but {K - 1} are as well: "
           f"their scores differ with the probability {1 - equal[1]:.4f}.")


def grpo_push(mine, draw):
    T, eps, beta = draw.randint(1, 3), draw.choice([0.1, 0.2]), draw.choice([0.04, 0.3])
    old, A = draw.numbers(-3, -1, T), draw.numbers(-2, 2, T)
    logp, ref = old + draw.numbers(-0.6, 0.6, T), old + draw.numbers(-1, 1, T)
    got = mine(logp, old, ref, A, eps, beta)
    shaped(got, (T,), "There is one push for each token.")
    penalty = beta * ((ref - logp).exp() - 1)
    same(mine(logp, old, ref, 0 * A, eps, beta), penalty, "All advantages are 0 here, so only the "
         "penalty pushes. The derivative of e^d - d - 1 by d is e^d - 1, and d falls as logp "
         "rises. So a token that the reference finds likelier is pushed up.")
    rho = (logp - old).exp()
    near = rho.clamp(1 - eps, 1 + eps)
    for t in range(T):
        clipped = bool(near[t] * A[t] < rho[t] * A[t])
        wanted = 0.0 if clipped else rho[t] * A[t]
        gained = mine(logp, old, ref, A, eps, beta)[t] - penalty[t]
        expect(abs(gained - wanted) < 1e-3, f"Token {t} has the ratio {rho[t]:.3f}, which is "
               f"{near[t]:.3f} when clipped, and the advantage {A[t]:.3f}. The "
               f"{'clipped' if clipped else 'plain'} gain is the smaller one, so without the "
               f"penalty its push is {wanted:.3f}"
               f"{'' if clipped else ', the ratio times the advantage'}. Yours is {gained:.3f}.")


class Optimizer(torch.optim.SGD):
    def __repr__(self):
        return "optimizer"


def grpo_step(mine, draw):
    many = draw.random() < 0.15                 # enough answers to see how they are sampled
    P, K, most, end = (1, 1000, 2, 0) if many else (draw.randint(1, 2), draw.randint(2, 4), 4, 0)
    W = draw.numbers(-2, 2, 5, 5)               # the logits of the next token after each token
    model = torch.nn.Embedding.from_pretrained(W.clone(), freeze=False)
    model.weight.grad = torch.ones(5, 5)        # of an earlier step
    prompts = draw.sample([[1, 2], [3, 4], [2, 3]], P)
    about, answers, scores = [], [], []

    def score(prompt, answer):
        about.append([int(x) for x in prompt])
        answers.append([int(x) for x in answer])
        scores.append(draw.choice([0.0, 0.2, 0.7, 1.0]))
        return scores[-1]

    optimizer = Optimizer([model.weight], lr=0.5)
    got = mine(model, optimizer, torch.tensor(prompts), score, K, most, end)
    expect(sorted(about) == sorted(prompts * K), f"Each of the {P} prompts should have {K} answers "
           f"with a score. You asked for {[about.count(prompt) for prompt in prompts]} scores of "
           f"them, and for {sum(prompt not in prompts for prompt in about)} of other prompts.")
    for answer in answers:
        expect(end not in answer[:-1], f"The answer {answer} goes on after end, which is {end}.")
        expect(len(answer) == most or end in answer and len(answer) < most, f"The answer {answer} "
               f"should have most = {most} tokens, or end with end, which is {end}, before that.")
    shaped(got, (), "The result is the mean score, one number.")
    R, p = torch.tensor(scores), W.softmax(-1)
    same(got, R.mean(), "The result is the mean of the scores.")
    if many:
        for y, chance in enumerate(p[prompts[0][-1]]):
            count = [answer[0] for answer in answers].count(y)
            spread = (K * chance * (1 - chance)) ** 0.5
            expect(abs(count - K * chance) < 4 + 5 * spread, f"{count} of {K} answers to a prompt "
                   f"begin with token {y}, whose probability is {chance:.3f}. Sample each answer "
                   "by itself, from these probabilities.")
        return
    groups = [R[torch.tensor([other == prompt for other in about])] for prompt in about]
    centred = R - torch.stack([group.mean() for group in groups])
    A = centred / (torch.stack([group.std() for group in groups]) + 1e-4)

    def step(A, weigh=torch.mean, length=0):
        """By how much the logits should change, with these advantages; answers that are shorter
        than `length` are padded with end."""
        w = W.clone().requires_grad_()
        long = [answer + [end] * (length - len(answer)) for answer in answers]
        logp = [w.log_softmax(-1)[prompt[-1:] + answer[:-1], answer]
                for prompt, answer in zip(about, long)]
        loss = -sum(a * weigh(x) for a, x in zip(A, logp)) / len(R)
        return -0.5 * torch.autograd.grad(loss, w)[0]

    wanted, moved = step(A), model.weight.detach() - W
    expect(moved.any() or wanted.abs().max() < 1e-3, "No weight has changed. Does the loss reach "
           "the optimizer, by loss.backward() and optimizer.step()?")
    longest, count = max(map(len, answers)), sum(map(len, answers))
    one_mean = step(A, torch.sum) * len(R) / count
    biased = torch.stack([group.std(correction=0) for group in groups]) + 1e-4
    padded = [step(A, length=n) for n in (longest, most)]
    padded += [step(A, lambda x, n=n: x.sum() / n) for n in (longest, most)]
    slips = {
        "the mean is taken over all tokens of the step at once, not over each answer": one_mean,
        "the gradient of an earlier step is added (zero_grad)": wanted - 0.5,
        "answers above the mean become less likely": -wanted,
        "the log-probs of an answer are added up": step(A, torch.sum),
        "the losses of the answers are added up": wanted * len(R),
        "the scores are used as they are": step(R),
        "the scores are not divided by their spread": step(centred),
        "the squares in the spread are divided by K, not K - 1": step(centred / biased),
        "mean and spread are those of all prompts": step((R - R.mean()) / (R.std() + 1e-4)),
    }
    if not torch.allclose(moved, wanted, atol=1e-4):
        for slip, other in slips.items():
            expect(not torch.allclose(moved, other, atol=1e-4), f"The scores were {scores}. The "
                   f"weights have moved as they do if {slip}.")
        expect(not any(torch.allclose(moved, other, atol=1e-4) for other in padded), "The weights "
               "have moved as they do if the padding of short answers is counted in their means. "
               "Divide the loss of an answer by the number of its own tokens.")
    same(moved, wanted, f"The answers {answers} have the advantages {show(A)}. So the weights, "
         "which are logits here, should move by other amounts than yours, which are "
         f"{show(moved)}.", tolerance=1e-3)


EXERCISES = {"12a": answers_needed, "12b": grpo_push, "12c": grpo_step}
