"""Debug task of lesson 16: a matrix of which some rows are frozen."""
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case

PROGRAM = '''
import torch


def choose(rows, seed):
    """Half of the rows of a matrix, drawn once: they are frozen."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:rows // 2]


def new_layer(seed):
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 4)


def train(seed, steps):
    """-> how far each row of the weight moved (4 numbers), and how far each bias moved.

    Frozen rows do not move at all, nor do their biases. The others are trained by AdamW.
    """
    layer = new_layer(seed)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
    before = [p.detach().clone() for p in layer.parameters()]
    x = torch.ones(2, 3)
    frozen = choose(4, seed)
    for step in range(steps):
        kept = [p.detach().clone() for p in layer.parameters()]
        loss = layer(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            layer.weight[frozen] = kept[0][frozen]
            layer.bias[frozen] = kept[1][frozen]
    weight, bias = [(p - start).detach().abs() for p, start in zip(layer.parameters(), before)]
    return weight.sum(1), bias
'''

TASKS = [debug(
    "16c", level=2, minutes=15, core=True, heading="One equation",
    signature="train(seed, steps)", program=PROGRAM,
    random=lambda draw: (draw.randrange(10**6), draw.randint(2, 4)),
    text="""\
Half of the rows of a matrix are frozen, to forget less. One bug is planted. Repair it.

The optimizer is AdamW. It moves a weight even if its gradient is 0: by weight decay, and by
momentum from earlier steps. So the frozen rows are put back after every step.""",
    cases=(
        Case((0, 1), "one step: how far 4 rows move, then 4 biases"),
        Case((0, 3), "three steps"),
        Case((1, 3), "three steps, other rows"),
    ),
    log=("the loss falls as it should; no part of the frozen rows is where it was",
         "the loss falls as it should; all that is frozen is where it was",
         "the loss stays where it is",
         "the loss falls as it should; frozen rows moved a little, and mostly towards 0",
         "the loss falls as it should; the frozen weights are where they were, what is added to "
         "them is not",
         "the loss is not a number"),
    bugs=(
        Bug("gradients are set to 0, but weight decay still moves the rows",
            """        optimizer.step()
        with torch.no_grad():
            layer.weight[frozen] = kept[0][frozen]
            layer.bias[frozen] = kept[1][frozen]
""", """        layer.weight.grad[frozen] = 0
        layer.bias.grad[frozen] = 0
        optimizer.step()
""", "d", "What does AdamW do with a weight whose gradient is 0?",
            "Weight decay needs no gradient. Look at the weights, not at the gradients."),
        Bug("the frozen rows are drawn anew in each step", "        kept = [",
            "        frozen = choose(4, seed + step)\n        kept = [", "a",
            "Print the frozen rows in every step. Are they the same?",
            "A mask that changes freezes nothing in the end."),
        Bug("the whole matrix is frozen", "layer.weight[frozen] = kept[0][frozen]",
            "layer.weight[:] = kept[0]", "c",
            "Which rows should still move?",
            "Freezing too much looks like a learning rate that is too small."),
        Bug("the biases of frozen rows are free",
            "            layer.bias[frozen] = kept[1][frozen]\n", "", "e",
            "A row has a weight and a bias. Are both where they were?",
            "A row of a layer is more than a row of its matrix."),
        Bug("the others are frozen", "[:rows // 2]", "[rows // 2:]", "b",
            "Which rows does the drawing name, and which ones stand still?",
            "Say for every mask what a 1 means."),
        Bug("the rows are put back to what they were after the step",
            """        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""", """        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept = [p.detach().clone() for p in layer.parameters()]
""", "a", "When is the copy made that is put back?",
            "A copy must be older than the change that it is to undo."),
    ),
    hints=("Which numbers of a frozen row are not 0 at the end?",
           "Lesson 16: which weights stand still, and why gradients of 0 are not enough.",
           "two of the four rows:   weight moved by 0, bias moved by 0"),
)]
