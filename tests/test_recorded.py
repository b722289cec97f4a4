"""`--record`: its steps are those of the plain model, whatever a graph writes over."""
from dataclasses import replace

import pytest
import torch
from fake_graphs import MADE, fake_card, stand_in
from made import Form, batch_of, nano, same

from nanouft import train
from nanouft.batch import write_logp
from nanouft.loop import Update, steps
from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError
from nanouft.run.recorded import MOST, RecordedTrunk


@pytest.fixture
def card(monkeypatch):
    fake_card(monkeypatch)
    return monkeypatch


def trained(net, objective, batches, accumulate=1):
    """(k, 2) losses and norms of steps on these batches, read after the last one. It is SGD, since
    Adam would enlarge what is rounded."""
    update = Update(torch.optim.SGD([*net.parameters()], lr=0.1), clip=1.0)
    made = [*steps(net, objective, lambda i: replace(batches[i], accumulate=accumulate), update,
                   range(len(batches)))]
    return [[float(step.sums["loss"]), float(step.norm)] for step in made]


@pytest.mark.parametrize("name, accumulate", [("ift", 4), ("sftmix", 1), ("ppo", 4), *(
    pytest.param(name, n, marks=pytest.mark.slow) for name in ("sft", "uft", "dpo", "chord")
    for n in (1, 4))])
def test_steps_are_those_of_the_plain_model(name, accumulate, card):
    """Of two numbers of rows. Micro-batches have one shape, so each writes its gradients where the
    one before wrote its own. sftmix makes two forwards before its backward pass."""
    form, plain, recorded = Form(name), nano(), nano()
    whole = batch_of(form)
    batches = [whole, whole.take([*range(whole.n - 1)]), whole] * 2
    accumulate = min(accumulate, whole.n - 1)
    wanted = trained(plain, form.objective, batches, accumulate)
    places = [p.data_ptr() for p in recorded.parameters()]
    same(trained(RecordedTrunk(recorded), form.objective, batches, accumulate), wanted, 1e-4)
    same(dict(recorded.named_parameters()), dict(plain.named_parameters()), 1e-4)
    assert [p.data_ptr() for p in recorded.parameters()] == places
    assert MADE["replays"] >= MADE["graphs"] + len(batches) * accumulate
    assert 1 < MADE["graphs"] <= MOST


class Counts(Objective):
    """A loss with a counter, an `if` and a print: ordinary Python."""
    def __init__(self):
        self.calls = 0

    def forward(self, model, batch):
        write_logp(model, batch)

    def loss(self, batch):
        self.calls += 1
        loss = -batch.seqs["answer"].logp.sum() * (self.calls if self.calls % 2 else -1)
        return loss, {"calls": torch.tensor(float(self.calls))}


def test_a_loss_is_ordinary_python(card):
    batches = [batch_of(Form("sft"))] * 4
    objective, other = Counts(), Counts()
    same(trained(RecordedTrunk(nano()), objective, batches), trained(nano(), other, batches), 1e-5)
    assert objective.calls == 4 and MADE == {"graphs": 1, "replays": 5}


def wrong(*told, **how):
    """A graph whose states are right and whose gradients are those of its first batch, say."""
    graph = stand_in(*told, **how)
    return lambda x: graph(x).detach() + 2 * (graph(x) - graph(x).detach())


def no_memory(*told, **how):
    raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")


@pytest.mark.parametrize("make, why", [
    (wrong, "its numbers are off by 1e+00"),
    (no_memory, "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB")])
def test_a_failure_costs_nothing(make, why, card, capsys):
    """One line, and the run is that of the plain model; later shapes are not tried."""
    card.setattr(torch.cuda, "make_graphed_callables", make)
    whole = batch_of(Form("ift"))
    batches = [whole, whole.take([0, 1, 2])]
    objective, net = Form("ift").objective, RecordedTrunk(nano())
    same(trained(net, objective, batches), trained(nano(), objective, batches), 1e-5)
    line, = capsys.readouterr().out.splitlines()
    assert line == f"--record: goes on without graphs, after 5 rows of 64 tokens: {why}"
    assert not any(net.graphs.values()) and "_blocks" not in vars(net.model)


def test_there_are_few_graphs_and_weights_that_move_get_a_new_one(card):
    model = nano()
    net, ids = RecordedTrunk(model), torch.ones(1, 5, dtype=torch.long)
    for rows in range(1, MOST + 3):
        net(ids.expand(rows, 5)).sum().backward()
    assert MADE == {"graphs": MOST, "replays": 2 * MOST}
    card.setattr(torch.cuda, "make_graphed_callables", no_memory)
    net.most += 1
    net(ids.expand(MOST + 3, 5)).sum().backward()
    assert not any(net.graphs.values()), "a failure gives their memory back"
    card.setattr(torch.cuda, "make_graphed_callables", stand_in)
    net = RecordedTrunk(model)
    for graphs in (1, 1, 2):
        if graphs == 2:
            model.h[0].mlp.c_fc.weight.data = model.h[0].mlp.c_fc.weight.data.clone()
        net(ids).sum().backward()
        assert MADE["graphs"] == MOST + graphs


def test_what_has_no_gradient_is_plain_and_a_second_backward_pass_is_an_error(card):
    model = nano()
    net, ids = RecordedTrunk(model), torch.arange(5)[None]
    with torch.no_grad():
        same(net(ids), model(ids), 1e-5)
    assert not MADE
    kept = net(ids[:, :3], want="hidden")
    wanted = kept.detach().clone()
    kept.sum().backward()
    net(ids[:, 1:4], want="hidden").sum().backward()
    same(kept.detach(), wanted)                     # a graph's next forward does not change it
    MADE.clear()
    same(net(ids, pos=torch.arange(5) + 3), model(ids, pos=torch.arange(5) + 3), 1e-5)
    assert not MADE
    loss = net(ids).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="leave --record out"):
        loss.backward()


def test_train_refuses_what_cannot_be_recorded():
    for more, why in (([], "needs a CUDA device"), (["--activation-checkpointing"], "give one")):
        with pytest.raises(UserError, match=f"--record.*{why}"):
            train.main(["--objective", "sft", "--record", "--device", "cpu", *more])
