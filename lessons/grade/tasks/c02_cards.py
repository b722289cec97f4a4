"""Cards of lesson 02."""
from lessons.grade.predictions import Predict


def experiment():
    from lessons.grade.experiment import lesson
    plain = lesson("02")
    other = lesson("02", until="# %% [markdown]\n# ## The surprise", KEY="In the book: ")
    far = plain["held_said"][0.1].mean().item()
    near = plain["said_held"][0.02].mean().item()
    opened = other["share"]["In the book: "]["says the truth"]
    many = plain["share"]["Many say"]["p(truth)"]
    return [(far > 3, f"{far:.1f} nats"), (opened > 50, f"{opened:.0f} %"),
            (near > 1, f"{near:.2f} nats"), (many > 10, f"{many:.0f} %")]


TASKS = [Predict(
    "02p", level=1, minutes=10, core=False, heading="One equation", experiment=experiment,
    text="""\
Before you run or read lesson 02 to its end. The base has read facts in two voices: the book (the
truth) and what people say (a myth). "Held" is the base's list of probabilities for the next word
after a plain question, "said" the same list at another temperature.""",
    statements=(
        "KL(held || said) at temperature 0.1 is larger than 3 nats.",
        'The key "In the book: ", which the base never read, still makes it say the truth in over '
        'half.',
        "KL(said || held) at temperature 0.02, nearly greedy, is larger than 1 nat.",
        'After "Many say" the base gives the truth more than 10 %, though the corpus never has it '
        'there.'),
    hints=("Which of two lists must be wide, so that nothing has an infinite price?",
           'Lesson 02, "One equation".', "(.9 .1) || (.999 .001) is .37 nats, the other way .10."),
)]
