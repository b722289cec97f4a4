"""iw-SFT with probabilities in place of their logarithms."""
import copy
import math

from nanouft.objective import Objective


def chances(model, s):
    """The probabilities of the tokens that stand there."""
    every = model.head(model(s.inputs)).double().softmax(-1)
    return every.gather(-1, s.targets[..., None])[..., 0]


class Mine(Objective):
    temp: float = 1.0
    cap: float = 16.0

    def setup(self, model, seed):
        self.start = copy.deepcopy(model)

    def forward(self, model, batch):
        self.p, self.q = (chances(x, batch.seqs["answer"]) for x in (model, self.start))

    def loss(self, batch):
        total = 0
        for p, q, on in zip(self.p, self.q, batch.seqs["answer"].mask == 1):
            lead = math.prod((p / q)[on].tolist()) ** (1 / int(on.sum()))   # a geometric mean
            total = total - min(self.cap, lead ** self.temp) * p[on].log().sum()
        return total / batch.tokens["answer"], {}
