"""What a trained model is asked, and what came of it: a number for each question.

    spec = EvalSpec(seed=900, tasks=("list", "sort"))      # or EvalSpec("my.jsonl")
    measure(spec, "out/sft")["score"]["sort"]              # (questions,) of NanoWorld's task
    measure(spec, "out/sft")["nll"]["rows"]                # of your rows
"""
from functools import cache
from typing import NamedTuple

import numpy as np

from nanouft import world
from nanouft.compare.splits import draw_keys
from nanouft.data.rows import Row, read
from nanouft.plumbing.files import own_file
from nanouft.world.answers import read_question

EXAMPLES = "example texts"      # among the measures, because they are kept with them
EXAMPLE_TOKENS = 60             # of an example, where responses are not measured

Values = dict[str, dict[str, np.ndarray]]       # {measure: {task or "rows": (questions,)}}


class EvalSpec(NamedTuple):
    """What a trained model is asked."""
    data: str = ""              # a file of your rows, or
    split: str = "test"         # NanoWorld's questions: val or test,
    seed: int = 0               # drawn with this seed,
    items: int = 100            # so many of each
    tasks: tuple[str, ...] = ()     # of these tasks
    longest: int = 44           # tokens of an answer; 0: as many as evaluate reads
    reward: str = ""            # with rows, what scores answers to them
    device: str = "cpu"
    dtype: str = "fp32"

    def reads(self) -> list[str]:
        """Files and folders."""
        return [x for x in (self.data, own_file(self.reward) or self.reward) if x]

    def groups(self) -> dict[str, np.ndarray]:
        """{task: (questions,)}: one number for all questions of NanoWorld about the same fact."""
        return fact_numbers(self)

    def rows(self) -> list[Row]:
        """Yours."""
        return read([self.data], ["demos", "pairs", "labels"])[0]


@cache
def fact_numbers(spec: EvalSpec) -> dict[str, np.ndarray]:
    numbers: dict = {}
    prompts = world.rows(spec.split, "prompts", spec.items * len(spec.tasks), spec.seed,
                         skills=spec.tasks)
    facts = [numbers.setdefault(read_question(text) or text, len(numbers))
             for text in (row.prompt[0].text for row in prompts)]
    return dict(zip(spec.tasks, np.array(facts).reshape(len(spec.tasks), -1)))


def measure(spec: EvalSpec, name: str) -> Values:
    """What evaluate measures of a model, row by row; and a few answers to read, always to the same
    prompts: NanoWorld's first of each task, or that of your first row."""
    from nanouft import evaluate
    from nanouft.run.evaluation import answer_rows, score_tasks
    from nanouft.run.load import open_for_inference
    model, tok, on = open_for_inference(name, spec.device, spec.dtype)
    if not spec.data:
        answers = score_tasks(model, tok, spec.split, spec.items, spec.seed, spec.tasks,
                              spec.longest)[1]
        firsts = [next(x for x in answers if x["family"] == task) for task in spec.tasks]
        return {what: {task: np.array([x[key] for x in answers if x["family"] == task], float)
                       for task in spec.tasks} for what, key in
                (("score", "score"), ("stops", "ended"))} | {
            EXAMPLES: {key: np.array([x[key] for x in firsts]) for key in ("prompt", "answer")}}
    rows = spec.rows()
    measurements = evaluate.measure_kinds("", model, tok, rows, on.exact())
    if spec.reward:
        flags = evaluate.EvaluateFlags(data=[spec.data], reward=spec.reward,
                                       max_new=spec.longest or None)
        measurements |= evaluate.measure_answers("", model, tok, rows, flags, on, temperature=1.0)
    of_row = dict(zip((r.where for r in rows), draw_keys(rows)))
    keys = sorted({*of_row.values()})
    out: Values = {}
    for m in measurements.values():
        what = next(iter(m.metrics))
        if what not in out:
            out[what] = {"rows": linearised(m.sums, m.counts)}
            out[f"{what} groups"] = {"rows": np.array([keys.index(of_row[w]) for w in m.where])}
            out |= {f"{what} {more}": {"rows": x} for more, x in m.also.items()}
    first = measurements.get("greedy answers") or next(iter(measurements.values()))
    row = next(r for r in rows if r.where == first.where[0])
    if "responses" in first.also:                       # the one whose reward is measured
        text = str(first.also["responses"][0])
    else:
        text = tok.decode(answer_rows(model, tok, [row], max_new=EXAMPLE_TOKENS)[0].ids).strip()
    prompt = "\n".join(turn.text for turn in row.prompt)
    return out | {EXAMPLES: {"prompt": np.array([prompt]), "answer": np.array([text])}}


def linearised(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Numbers of rows whose mean is sum over sum, as of a loss per token, and that scatter as this
    ratio does: the ratio, and what a row has more or less than its tokens at the ratio (Cochran
    1977, 6.2)."""
    ratio, share = sums.sum() / counts.sum(), counts / counts.mean()
    return sums / counts.mean() + ratio * (1 - share)
