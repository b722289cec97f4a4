"""The papers of lessons/papers: the right program, common mistakes, settings that are drawn, and a
law that a right program obeys.

A mistake is a part of the right program's file, what stands there instead, and its sentence.
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from lessons.classroom.mistakes import Mistake
from lessons.classroom.paper_runs import Case, Score, any_score

LESSONS = Path(__file__).parents[1]
PAGES, EVIDENCE = LESSONS / "papers", LESSONS / "evidence"
SIGN = "The sign is wrong: the demonstrations become less likely."
OF_PART = ('n = batch.seqs["answer"], batch.tokens["answer"]',
           'n = batch.seqs["answer"], batch.seqs["answer"].mask.sum()', "The tokens are those of "
           "the micro-batch. Divide by those of the whole step: batch.tokens.")
BY_ROW = ("The mean is that over the rows. Take that over all response tokens of the step: "
          "batch.tokens.")


@dataclass(frozen=True)
class Law:
    """With these settings the gradient is that of another method, or there is none."""
    words: str
    settings: dict
    like: tuple[str, dict] | None               # None: there is no gradient
    case: Case = Case("law", 3, 2, 3)
    score: Score = any_score


@dataclass(frozen=True)
class Facts:
    key: Path
    settings: Callable[[Random], dict]          # drawn anew for each batch
    law: Law
    mistakes: list[Mistake]
    steps: int = 1                              # of a batch


def all_right(rows: list, texts: list[str]) -> list[float]:
    return [1.0] * len(texts)


LUFFY = Facts(
    EVIDENCE / "luffy.py",
    lambda draw: {"samples": draw.choice([2, 3]), "gamma": draw.choice([0.05, 0.1, 0.5])},
    Law("if all answers and the demonstration have one reward, nothing is pushed",
        {"samples": 2}, None, score=all_right),
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
     ("explored + shaped(batch, self.gamma)", "explored", "The demonstrations are missing.")])

SRFT = Facts(
    EVIDENCE / "srft.py",
    lambda draw: {"samples": draw.choice([2, 3]), "gamma": draw.choice([0.1, 0.5]),
                  "sft": draw.choice([0.2, 0.5]), "rl": draw.choice([0.1, 0.3])},
    Law("with sft 0, rl 0 and right answers alone, nothing is pushed",
        {"samples": 2, "sft": 0.0, "rl": 0.0}, None, score=all_right),
    [("self.rl * H.exp()", "self.rl * (-H).exp()", "A right answer weighs more where the model was "
      "uncertain: exp(H). Notes on the paper print exp(-H)."),
     ("self.rl * H.exp()", "self.rl", "The entropy is missing in the weight of right answers."),
     ("-1.0).to(R)", "0.0).to(R)", "An answer that is not right is pushed down, with -1."),
     ("R >= 1", "R > 0", "Only a reward of 1 is a right answer. A half right one is pushed down."),
     ("self.sft * (-H_demo).exp()", "self.sft * H_demo.exp()", "A demonstration weighs less where "
      "the model is uncertain: exp(-H)."),
     ("self.sft * (-H_demo).exp()", "torch.full_like(R, self.sft)", "The entropy is missing in the "
      "weight of demonstrations."),
     ('s.mean(s.extra["entropy"])', 's.sum(s.extra["entropy"])', "H is the mean entropy of an "
      "answer's tokens, not their sum."),
     ("demo.sum(demo.logp)", "demo.mean(demo.logp)", "Imitation is a mean over all demonstrated "
      "tokens, so take the sum of each row first."),
     ('max(1, batch.tokens["demo"])', "all_tokens(batch)", "Imitation is divided by the tokens of "
      "the demonstrations alone."),
     ("imitated = -", "imitated = ", SIGN),
     ("explored = -", "explored = ", "The sign of your own answers' part is wrong."),
     ("explored + shaped(batch, self.gamma)", "explored", "The middle part is missing: f(p) times "
      "the advantage of the demonstration."),
     ("imitated + (", "(", "Imitation is missing.")])

GAIN = "torch.minimum(rho, rho.clamp(1 - self.eps, 1 + self.eps))"
PSFT = Facts(
    PAGES / "key_psft.py",
    lambda draw: {"eps": draw.choice([0.1, 0.28]), "renew": draw.choice([2, 3])},
    Law("with renew 1, the gradient of each step is SFT's", {"renew": 1}, ("sft", {})),
    [("self.steps % self.renew == 0", "False", "The old policy is never renewed, so it is the "
      "start model for ever, and soon every token is left alone."),
     (" and self.steps % self.renew == 0", "", "The old policy is renewed in each step, so no "
      "ratio is ever far from 1. It stays for `renew` steps."),
     ("trains and batch.offset == 0 ", "trains ", "Each micro-batch is counted as a step. The "
      "first one of a step has batch.offset 0."),
     (GAIN, "rho", "Nothing is clipped."),
     (GAIN, "rho.clamp(1 - self.eps, 1 + self.eps)", "A token that has become less likely is left "
      "alone as well. Take the smaller one of rho and its clip, which pushes it back up."),
     (GAIN, "torch.maximum(rho, rho.clamp(1 - self.eps, 1 + self.eps))", "The loss holds the "
      "smaller one of rho and its clip, not the larger."),
     ("-" + GAIN, "-s.logp * (rho <= 1 + self.eps)", "The loss holds rho, not log p."),
     ("each = -", "each = ", SIGN),
     ('rho = (s.logp - s.extra["old_logp"])', 'rho = (s.extra["old_logp"] - s.logp)',
      "The ratio is upside down: rho is p / old."),
     ("return s.sum(each).sum() / n", "return s.mean(each).sum() / batch.n", BY_ROW),
     OF_PART], steps=5)

IWSFT = Facts(
    PAGES / "key_iw_sft.py",
    lambda draw: {"temp": draw.choice([0.5, 1.0, 2.0]), "cap": draw.choice([1.1, 16.0])},
    Law("at the start all weights are 1, and the gradient is SFT's", {}, ("sft", {}),
        Case("law", 3, 2, 1, noise=0.0)),
    [("s.logp.detach() - s.ref_logp", "s.logp - s.ref_logp", "Gradient flows through the weights, "
      "which should be constants."),
     ("s.logp.detach() - s.ref_logp", "s.ref_logp - s.logp.detach()", "The weight is upside down: "
      "a row weighs more if it has become more likely."),
     ("lead = s.mean(", "lead = s.sum(", "The weight is that of a mean over the answer's tokens, "
      "not of their sum."),
     ("self.temp * lead", "lead", "temp is missing."),
     (".clamp(max=self.cap)", "", "The weights are not capped."),
     (".clamp(max=self.cap)", ".clamp(1 / self.cap, self.cap)", "The weights have no lower bound."),
     ("lead = s.mean(s.logp.detach() - s.ref_logp)                             # (B,) nats",
      "lead = (s.logp.detach() - s.ref_logp)", "An answer has one weight. Yours differ from token "
      "to token."),
     ("return -(", "return (", SIGN),
     ("(weight * s.sum(s.logp)).sum() / n", "(weight * s.mean(s.logp)).sum() / batch.n", BY_ROW),
     ("(weight * s.sum(s.logp)).sum() / n", "(weight / weight.mean() * s.sum(s.logp)).sum() / n",
      "The weights are divided by their mean. They are taken as they are."),
     OF_PART])

EAFT = Facts(
    PAGES / "key_eaft.py",
    lambda draw: {"top": draw.choice([5, 20])},
    Law("where all tokens are equally likely, the gradient is SFT's", {}, ("sft", {}),
        Case("law", 3, 2, 1, noise=0.0, spread=0.0)),
    [("with torch.no_grad():", "if True:", "Gradient flows through the weights, which should be "
      "constants."),
     (" / math.log(self.top) ", " ", "The entropy is not divided by its largest value, log top."),
     (" / math.log(self.top) ", " / 3.0 ", "The released code rounds log 20 to 3. Here it is "
      "math.log(top), so that another top works too."),
     (" / math.log(self.top) ", " / math.log(logits.shape[-1]) ", "The largest entropy of `top` "
      "tokens is log top, not log V."),
     ("logits.topk(self.top).values.log_softmax(-1)", "logits.log_softmax(-1)", "The entropy is "
      "that of all tokens. Take that of the `top` likeliest."),
     ("logits.topk(self.top).values.log_softmax(-1)",
      "logits.log_softmax(-1).topk(self.top).values", "The probabilities of the `top` tokens "
      "should add up to 1: take the softmax over them alone."),
     ("entropy = -", "entropy = 1 + ", "A token should weigh more where the model is less sure."),
     ("entropy = -(few.exp() * few).sum(-1) / math.log(self.top) ", "entropy = logp.exp() ",
      "This is DFT: its weight is the token's own probability."),
     ("return -s.sum(", "return s.sum(", SIGN),
     ("s.sum(unsure * s.logp).sum() / n", "s.mean(unsure * s.logp).sum() / batch.n", BY_ROW),
     OF_PART])

ANCHORED = Facts(
    PAGES / "key_anchored.py",
    lambda draw: {"lam": draw.choice([0.05, 0.5, 2.0])},
    Law("with lam 0, the gradient is DFT's", {"lam": 0.0}, ("dft", {})),
    [("s.logp.detach().exp()", "s.logp.exp()", "Gradient flows through DFT's weight p, which "
      "should be a constant."),
     (" * s.logp.detach().exp() ", " ", "DFT's weight p is missing: this is SFT with a KL."),
     ("ref.exp() * (ref - logp)", "logp.exp() * (logp - ref)", "This is KL(model || start). The "
      "released code takes KL(start || model)."),
     ("(ref.exp() * (ref - logp)).sum(-1)", "(ref.exp() * (logp - ref)).sum(-1)", "The sign of the "
      "KL is wrong: it drives the model away from the start."),
     ("kl = (ref.exp() * (ref - logp)).sum(-1) ",
      "kl = (ref - logp).gather(1, s.targets.flatten()[s.positions][:, None])[:, 0] ",
      "The KL is a sum over all tokens of the vocabulary, not the log-ratio of the target alone."),
     ("copy.deepcopy(model).requires_grad_(False)", "model", "There is no KL. Is the start model "
      "the one that is trained? Copy it in `setup`."),
     ("self.lam * kl", "kl", "The KL is not multiplied by lam."),
     ("imitate = -", "imitate = ", SIGN),
     ("return s.sum(each).sum() / n", "return s.mean(each).sum() / batch.n", BY_ROW),
     OF_PART])

PAPERS = {"luffy": LUFFY, "srft": SRFT, "psft": PSFT, "iw_sft": IWSFT, "eaft": EAFT,
          "anchored": ANCHORED}
