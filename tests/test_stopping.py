"""Does a model stop, and do rows teach it to? Each figure of `nanouft.pushes --end`."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from made import DATA, NANO, nano, same, write_jsonl

from nanouft import pushes
from nanouft.data.batches import Tokens, encode
from nanouft.data.selection import demo_rows
from nanouft.run import stopping
from nanouft.run.stopping import Ends, measure_ends

DEMOS = demo_rows([replace(r, where=f"my.jsonl, line {i}") for i, r in enumerate(DATA, 1)])
FOUND = Ends(answers=10, trained=10, without=[], nats=[0.1] * 10, weights=[0.3] * 10, stopped=10,
             asked=10, max_new=44, longest=9)


def talks(says_end: float):
    """A model whose end token is always likely (> 0) or never said (< 0)."""
    model = nano()
    end = model.wte.weight.detach()[NANO.end]
    model.ln_f.bias.data += says_end * end / end.norm() ** 2
    return model.eval()


def test_an_end_token_within_an_answer_does_not_end_it():
    """Only the last token of each stretch that is trained on may; and it may be another one."""
    ids, mask = np.array([5, 9, 6, 9, 5, 9, 7]), np.array([0, 1, 1, 1, 0, 1, 1])
    assert stopping.end_places(Tokens(ids, mask), {9}).tolist() == [3]
    assert stopping.end_places(Tokens(ids, mask), {9, 7}).tolist() == [3, 6]


def test_all_rows_are_counted_and_some_are_measured(monkeypatch):
    """A row whose mask leaves the end out is named; where none has an end there are no weights."""
    monkeypatch.setattr(stopping, "MEASURED", 3)
    encoded, _ = encode(DEMOS, NANO, 64)
    encoded[1].seqs["answer"].mask[-1] = 0
    found = measure_ends(talks(30), NANO, encoded)
    assert (found.answers, found.trained) == (len(DEMOS), len(DEMOS) - 1)
    assert found.without == [DEMOS[1].where] and DEMOS[1].where in found.text()
    assert (found.asked, len(found.nats)) == (3, 3)
    assert found.longest == max(int(e.seqs["answer"].mask.sum()) for e in encoded)
    for e in encoded:
        e.seqs["answer"].mask[-1] = 0
    found = measure_ends(talks(30), NANO, encoded)
    assert not found.trained and not found.nats and len(found.without) == len(DEMOS)
    assert found.meaning().startswith("These rows do not teach a model to stop")


def test_the_weight_of_the_end_is_that_of_ift_and_its_nats_those_of_the_right_answer():
    """By loops over one row: blended states, discounted losses, their mean."""
    encoded, _ = encode(DEMOS[:1], NANO, 64)
    model, t = nano(), encoded[0].seqs["answer"]
    ids, n = t.ids.tolist(), int(t.mask.sum())
    found = measure_ends(model, NANO, encoded)
    with torch.no_grad():
        x = torch.tensor([ids[:-1]])
        same(found.nats, [-model(x)[0, -1].log_softmax(-1)[ids[-1]]], tol=1e-5)
        states, first = model(x, want="embeds"), len(ids) - n       # of the answer
        greedy = model(embeds=states)[0].argmax(-1)
        for i in range(first, len(ids) - 1):            # what stands at i was guessed at i - 1
            states[0, i] = 0.8 * states[0, i] + 0.2 * model(greedy[None, i - 1:i], want="embeds")[0]
        logp = model(embeds=states)[0].log_softmax(-1)
        loss = [-float(logp[i - 1, ids[i]]) for i in range(first, len(ids))]
    v = [sum(0.95 ** (k - i) * loss[k] for k in range(i, n)) for i in range(n)]
    same(found.weights, [v[-1] * n / sum(v)], tol=1e-4)


def test_a_model_that_never_stops_and_one_that_does():
    encoded, _ = encode(DEMOS, NANO, 64)
    never, always = measure_ends(talks(-30), NANO, encoded), measure_ends(talks(30), NANO, encoded)
    assert never.stopped == 0 and never.likely == 0 and min(never.nats) > 1
    assert always.stopped == always.asked == len(DEMOS) and max(always.nats) < 0.1


@pytest.mark.parametrize("changed, sentence", [
    ({}, "This model stops, and where these answers do"),
    ({"nats": [3.0] * 10}, "This model stops, but not where"),
    ({"stopped": 8}, "This model would end right answers, but its own go on"),
    ({"stopped": 8, "nats": [0.8] * 10}, "This model has to learn to stop: IFT gives the end 0.30"),
    ({"stopped": 8, "nats": [3.0] * 10, "weights": [1.0] * 10}, "SFT and IFT both give"),
    ({"trained": 9, "stopped": 0}, "1 answer without a trained end token")])
def test_one_sentence_says_what_the_figures_mean(changed, sentence):
    assert sentence in replace(FOUND, **changed).meaning()


def test_the_command_reads_a_file_or_nanoworld(tmp_path, capsys):
    file = write_jsonl(tmp_path / "my.jsonl", [{"prompt": "Hi", "response": "Ho"},
                                               {"prompt": "Hi", "response": ""}])
    assert pushes.main(["--end", "--data", file]) == 0
    said = capsys.readouterr().out
    assert "2 rows read: 1 with an answer, 1 left out" in said
    assert "1 end token for 1 answer" in said
    assert pushes.main(["--end"]) == 0 and "30 end tokens for 30 answers" in capsys.readouterr().out
