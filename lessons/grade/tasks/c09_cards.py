"""Cards of lesson 09."""
from lessons.grade.predictions import Predict


def experiment():
    """UNA as in the lesson, with all grades raised by 0.2."""
    from dataclasses import replace

    from lessons.grade.experiment import lesson
    space = lesson("09", until="models = {")
    raised = [replace(row, score=min(1.0, row.score + 0.2)) for row in space["torn"]]
    plain = space["train"](space["una"], space["torn"], 1e-4, space["STEPS"])
    model = space["train"](space["una"], raised, 1e-4, space["STEPS"])
    before, after = logp_of_halves(space, space["base"]), logp_of_halves(space, model)
    answers = space["answer_rows"](model, space["tok"], space["tests"])
    said = [space["tok"].decode(answer.ids).strip() for answer in answers]
    ended = sum(answer.ended for answer in answers) / len(answers)
    unknown = sum("not know" in text for text in said) / len(said)
    lost = sum(space["exam"](plain)) / 3 - sum(space["exam"](model)) / 3
    return [(after > before, f"{before:.1f} -> {after:.1f}"), (ended < 0.9, f"{ended:.0%}"),
            (unknown > 0.5, f"{unknown:.0%}"), (lost > 10, f"{lost:+.0f} points")]


def logp_of_halves(space: dict, model) -> float:
    """The mean log-prob of answers that are half right."""
    objective, hp = space["una"], space["una"].hp()
    data, _ = space["encode"](objective.rows(space["halves"][:64], hp), space["tok"],
                              space["base"].cfg.n_ctx)
    batch = space["collate"](data, range(len(data)), space["tok"].pad)
    with space["torch"].no_grad():
        objective.forward(model, batch, hp)
    answer = batch.seqs["answer"]
    return answer.sum(answer.logp).mean().item()


TASKS = [Predict(
    "09p", level=2, minutes=15, core=False, heading="The proof", experiment=experiment,
    text="""\
UNA learns from torn pairs as in lesson 09: sums, sorting, truth; one answer and its grade for
each question, 40 steps from the base. Now a kind rater raises all grades by 0.2 (to 1 at most).
Predict.""",
    statements=(
        "Answers of grade 1/2 (before it was raised) become likelier than they were in the base.",
        "Fewer than 90 % of the model's answers stop by themselves.",
        'More than half of the answers say "I do not know."',
        "The mean score is more than 10 points lower than with honest grades."),
    hints=("At which grade does UNA push neither up nor down, at the start?",
           'Lesson 09, "The proof".',
           "grade 0.5 -> 0.7:   at the start sigma is 0.5, so the push is no longer 0."),
)]
