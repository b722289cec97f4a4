"""What the functions of ex12.py must do."""
import torch

from lessons.check import expect, same, shaped, show, slopes


def rloo(mine, draw):
    P, K = draw.randint(1, 3), draw.randint(2, 5)
    R = draw.numbers(0, 1, P, K)
    got = mine(R)
    shaped(got, (P, K), "There is one advantage for each answer.")
    for k in range(K):
        other = R.clone()
        other[0, k] += 1
        wanted = torch.zeros(P, K)
        wanted[0] = -1 / (K - 1)
        wanted[0, k] = 1
        moved = mine(other) - got
        same(moved, wanted, f"K is {K}. Answer {k} to prompt 0 scored 1 more. Its own advantage "
             f"should rise by 1, those of the others to this prompt should fall by 1/{K - 1}, "
             f"and other prompts should not change. Yours change by {show(moved)}.")
    same(mine(R), (R - R.mean(1, keepdim=True)) * K / (K - 1), "The advantages react to each score "
         "as they should, but have other values.")


def grpo(mine, draw):
    P, K = draw.randint(1, 3), draw.randint(2, 5)
    R = draw.numbers(0, draw.choice([0.05, 1]), P, K)       # 0.05: answers that are nearly equal
    got = mine(R)
    shaped(got, (P, K), "There is one advantage for each answer.")
    same(mine(torch.ones(P, K)), torch.zeros(P, K), "All scores are equal here, so no answer is "
         "better than the others.")
    other = R.clone()
    other[1:] = 1 - 3 * other[1:]
    same(mine(other)[0], got[0], "The scores of other prompts were changed, and the advantages of "
         "prompt 0 changed. Each prompt has its own mean and spread.")
    got = mine(R)
    same(got.sum(1), torch.zeros(P), "The scores of each prompt are centred, so their advantages "
         "add up to 0.", tolerance=1e-3)
    centred, sd = R[0] - R[0].mean(), R[0].std()
    best = R[0].argmax()
    wanted = centred[best] / (sd + 1e-4)
    same(got[0, best], wanted, f"Answer {best} to prompt 0 is {centred[best]:.5f} better than the "
         f"mean. Divided by the standard deviation {sd:.5f} plus 0.0001 this is {wanted:.3f}. "
         f"Yours is {got[0, best]:.3f}.", tolerance=1e-3)
    spread = R.std(1, keepdim=True) + 1e-4
    same(got, (R - R.mean(1, keepdim=True)) / spread, "The best answer to prompt 0 has "
         "the right advantage, but not all others have.", tolerance=1e-3)
    (slope,) = slopes(lambda x: mine(x) * torch.arange(K), R)
    expect(not slope.any(), "The values are right, but gradient flows through them to R.")


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

    def step(A, weigh=torch.mean):
        """By how much the logits should change, with these advantages."""
        w = W.clone().requires_grad_()
        logp = [w.log_softmax(-1)[prompt[-1:] + answer[:-1], answer]
                for prompt, answer in zip(about, answers)]
        loss = -sum(a * weigh(x) for a, x in zip(A, logp)) / len(R)
        return -0.5 * torch.autograd.grad(loss, w)[0]

    wanted, moved = step(A), model.weight.detach() - W
    expect(moved.any() or wanted.abs().max() < 1e-3, "No weight has changed. Does the loss reach "
           "the optimizer, by loss.backward() and optimizer.step()?")
    slips = {
        "the gradient of an earlier step is added (zero_grad)": wanted - 0.5,
        "answers above the mean become less likely": -wanted,
        "the log-probs of an answer are added up": step(A, torch.sum),
        "the losses of the answers are added up": wanted * len(R),
        "the scores are used as they are": step(R),
        "the scores are not divided by their spread": step(centred),
        "mean and spread are those of all prompts": step((R - R.mean()) / (R.std() + 1e-4)),
    }
    if not torch.allclose(moved, wanted, atol=1e-4):
        for slip, other in slips.items():
            expect(not torch.allclose(moved, other, atol=1e-4), f"The scores were {scores}. The "
                   f"weights have moved as they do if {slip}.")
    same(moved, wanted, f"The answers {answers} have the advantages {show(A)}. So the weights, "
         "which are logits here, should move by other amounts than yours, which are "
         f"{show(moved)}.", tolerance=1e-3)


EXERCISES = {"12a": rloo, "12b": grpo, "12c": grpo_step}
