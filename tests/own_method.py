"""A method in a file of one's own, mine.py, as a person writes it and trains with it."""
import shlex
import shutil
from pathlib import Path

from nanouft import train

HEAD = "from nanouft.objective import Objective\nfrom nanouft.objectives.dpo import Pairs\n\n\n"
MINE = HEAD + '''class Mine(Pairs):
    lr = 1e-4
    about = "mine is not yours"
    aim: float = 1.0            # nats

    def each(self, i_w, i_l, batch):
        return (self.beta * self.aim - (i_w - i_l)).relu() ** 2
'''
LOSS = HEAD + "class Mine(Objective):\n    def loss(self, batch):\n        "
ON_POLICY = HEAD + """class Mine(Objective):
    data = "prompts"

    def loss(self, batch):
        return batch.seqs["answer"].logp.sum(), {}

    def credit(self, batch):
        """
RUN = ("--objective mine.py --init start --rows 32 --batch-size 8 --steps 4 --plain "
       "--save-every 2 --threads 1 --device cpu ")


def own(text: str, flags: str = "") -> None:
    """Trains a few steps with this text as mine.py."""
    Path("mine.py").write_text(text, encoding="utf-8")
    shutil.rmtree("out", ignore_errors=True)            # of the one before
    train.main(shlex.split(f"{RUN} --out out {flags}"))


def pairs(*body: str, flags: str = "") -> None:
    """... with a class of pairs that has these lines."""
    head = HEAD.replace("import Objective", "import AnyNumber, Objective, Share")
    lines = ["class Mine(Pairs):", "aim: Share = 1.0", *body, "def each(self, i_w, i_l, batch):",
             "    return (1 - (i_w - i_l)).relu()"]
    own("from typing import Annotated\n" + head + "\n    ".join(lines), flags)


def each(result: str) -> None:
    """... with a class of pairs whose losses are this."""
    own(MINE.replace("(self.beta * self.aim - (i_w - i_l)).relu() ** 2", result))


def loss(*body: str) -> None:
    """... with a loss of demonstrations that has these lines."""
    own(LOSS + "\n        ".join(["x = batch.seqs['answer'].logp", *body]))


def credit(*body: str) -> None:
    """... with a method that samples, whose credit has these lines."""
    own(ON_POLICY + "\n        ".join(["R = batch.per_row['reward']", *body]))
