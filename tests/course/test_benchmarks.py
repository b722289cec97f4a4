"""tests.bench: both programs read the same rows, and their times are compared."""
from nanouft.device import Device
from tests.bench import beside_trl
from tests.bench.beside_trl import Subject


def test_the_ratio_is_of_all_steps_together_on_the_same_rows_in_their_order(monkeypatch):
    """A median of steps had paired our short step with TRL's mixed one. The first one warms up."""
    subject, seconds = Subject("base", rows=4, turns=2), iter([0, 10, 11, 14, 15, 17, 21])
    monkeypatch.setattr(beside_trl, "steps", lambda model, objective, source, *_, **how: source)
    source = beside_trl.our_steps("dpo", subject, Device("cpu", "bf16"))
    assert [source.data[i].row.prompt for i in source.order.ravel()] == [
        row.prompt for row in subject.choose("pairs")] and source.order.shape == (3, 4)
    monkeypatch.setattr(beside_trl, "trl_steps", lambda *told: [told[-1]() for _ in range(3)])
    monkeypatch.setattr(beside_trl, "our_steps", lambda *_: iter(range(3)))
    monkeypatch.setattr(beside_trl.time, "process_time", lambda: next(seconds))
    assert beside_trl.against_trl("dpo", subject, "bf16").startswith("1.00 (")  # 3 + 2 over 1 + 4
