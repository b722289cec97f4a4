"""The right functions of piece reward, and common mistakes."""
import torch

from lessons.behind.tasks.task import Task
from lessons.papers.pieces.runs import pool, searched

AGREES, FALLS = 60, 20          # per cent of the pairs; points


def reward(prompts, completions):
    """A point for each word of the question, and for each word not before its neighbour."""
    out = []
    for prompt, words in zip(prompts, map(str.split, completions)):
        known = prompt.strip(".").split()
        out.append(sum(x in known for x in words) + sum(a <= b for a, b in zip(words, words[1:])))
    return out


def price(rewards, scores, beta):
    w = (rewards / beta).softmax(1)
    nats = (w * (w * w.shape[1]).log()).sum(1)
    return [(w * rewards).sum(1).mean(), (w * scores).sum(1).mean(), nats.mean()]


def stop(rewards, scores, betas):
    half = len(rewards) // 2
    beta = max(betas, key=lambda beta: price(rewards[:half], scores[:half], beta)[1])
    return [beta, price(rewards[half:], scores[half:], beta)[1]]


def rewards_and_scores(draw):
    P, n = draw.choice([2, 4]), draw.randint(2, 4)
    return draw.numbers(0, 4, P, n), draw.numbers(0, 1, P, n), draw.choice([0.3, 1.0, 2.5])


def with_betas(draw):
    return (*rewards_and_scores(draw)[:2], [0.2, 1.0, 5.0])


def of_the_search(gives):
    agrees, mean, favourite = gives
    return {"has the pairs in which it is right, in per cent:": min(AGREES, agrees),
            "has the fall of the exact score, in points:": min(FALLS, mean - favourite)}


def outcome(reward, price, stop):
    questions, texts, scores = pool()
    scores = scores.double()
    rewards = torch.as_tensor(reward(questions, texts)).double().view(scores.shape)
    rewards = (rewards - rewards.mean()) / rewards.std()
    betas = [10.0, 3.0, 1.0, 0.5, 0.3, 0.2, 0.1]
    yield "  beta  reward   score    nats"
    for beta in betas:
        got, score, nats = price(rewards, scores, beta)
        yield f"{beta:6g}{got:8.2f}{100 * score:8.1f}{nats:8.2f}"
    beta, score = stop(rewards, scores, betas)
    other = scores[len(scores) // 2:]
    yield (f"Chosen on half of the questions: beta {beta:g}. On the other half the score is "
           f"{100 * score:.1f}, and without the reward {100 * other.mean():.1f}.")


ALL = 'sum(x in known for x in words) + sum(a <= b for a, b in zip(words, words[1:]))'
TASKS = {
    "reward: reward": Task(reward, lambda draw: (), [
        (ALL, "len(' '.join(words))", "This rewards length. It is hacked, but nobody would believe "
         "in it: it mostly prefers the worse answer."),
        (ALL, "__import__('nanouft.world').world.score(prompt, ' '.join(words))",
         "This is the exact score, so its favourite is right."),
        (ALL, "-__import__('nanouft.world').world.score(prompt, ' '.join(words))",
         "This is minus the exact score. A reward that is hacked is right about most answers."),
        (ALL, "float(words == sorted(words))", "It only asks whether the list is in order. Its "
         "favourite is better than the mean: no search has hacked it.")],
        searched, of_the_search, rounds=1, seconds=60,
        text="    64 answers to each of 24 questions\n"),
    "reward: price": Task(price, rewards_and_scores, [
        ("rewards / beta", "rewards * beta", "A larger beta holds the policy back: divide by it."),
        (".softmax(1)", ".flatten().softmax(0).view(rewards.shape)", "The weights of the answers "
         "to one question add up to 1."),
        ("(w * w.shape[1]).log()", "w.log()", "The policy has drawn n answers, so each has the "
         "probability 1/n before, and the nats are the mean of log(w n)."),
        ("nats.mean()", "nats.sum()", "The nats are a mean over the questions.")], tolerance=1e-3),
    "reward: stop": Task(stop, with_betas, [
        ("beta)[1])", "beta)[0])", "beta is chosen by the reward, which always asks for more."),
        ("price(rewards[:half], scores[:half], beta)", "price(rewards, scores, beta)",
         "beta is chosen on all questions, so the half that is reported has taken part."),
        ("price(rewards[half:], scores[half:], beta)", "price(rewards[:half], scores[:half], beta)",
         "The score is reported on the questions on which beta was chosen: it is too good."),
        ("price(rewards[half:], scores[half:], beta)", "price(rewards, scores, beta)", "The score "
         "is reported on all questions. Leave out those on which beta was chosen.")],
        tolerance=1e-3)}
