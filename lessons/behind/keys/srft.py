"""Common mistakes in srft.md; the right program is lessons/evidence/srft.py."""
from lessons.behind.tasks.papers import SIGN, Paper
from lessons.evidence.srft import SRFT

TASKS = {"srft": Paper(SRFT,
    {"samples": [2, 3], "gamma": [0.002, 0.1], "sft": [0.2, 0.5], "rl": [0.1, 0.3]},
    [("self.rl * H.exp()", "self.rl * (-H).exp()", "A right answer weighs more where the model was "
      "uncertain: exp(H). Notes on the paper print exp(-H)."),
     ("self.rl * H.exp()", "self.rl", "The entropy is missing in the weight of right answers."),
     ("-1.0).to(R)", "0.0).to(R)", "An answer that is not right is pushed down, with -1."),
     ("R >= 1", "R == 1", "A reward of more than 1 is a right answer as well."),
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
     ("imitated + (", "(", "Imitation is missing.")], whole_file=True)}
