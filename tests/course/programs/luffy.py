"""LUFFY, group by group in lists."""
from nanouft.objective import Objective


class Mine(Objective):
    data = "demos + prompts"
    samples: int = 4
    gamma: float = 0.1

    def credit(self, batch):
        row, K = batch.per_row, self.samples
        own, demo = row["reward"].clone(), row["demo_reward"].clone()
        for i in range(0, batch.n, K):
            group = [*row["reward"][i:i + K]]
            if row["demo"][i] == 1:
                group.append(row["demo_reward"][i])
            own[i:i + K] -= sum(group) / len(group)
            demo[i] -= sum(group) / len(group)
        row["own"], row["shown"] = own, demo
        return batch, {}

    def loss(self, batch):
        s, d, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row
        rho, p = (s.logp - s.sampled_logp).exp(), d.logp.exp()
        gain = (s.mask * rho).sum(1) @ row["own"]
        gain = gain + (d.mask * p / (p + self.gamma)).sum(1) @ row["shown"]
        return -gain / sum(batch.tokens.values()), {}
