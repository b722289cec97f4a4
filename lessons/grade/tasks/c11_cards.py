"""Cards of lesson 11."""
from lessons.grade.predictions import Predict


def experiment():
    from lessons.grade.experiment import lesson
    until = "right_rows = "
    shares, alone = {}, 0.0
    for judge in ("clean", "noisy", "self"):
        space = lesson("11", until=until, BREAK=judge)
        shares[judge] = space["found"](space["tau"])
        alone = space["found"](space["r_bar"]) if judge == "clean" else alone
    return [(shares["clean"] > 75, f"{shares['clean']:.0f} %"),
            (shares["noisy"] > 60, f"{shares['noisy']:.0f} %"),
            (abs(shares["self"] - 40) < 8, f"{shares['self']:.0f} %"),
            (alone > shares["clean"], f"{alone:.0f} % against {shares['clean']:.0f} %")]


TASKS = [Predict(
    "11p", level=1, minutes=10, core=False, heading="Live", experiment=experiment,
    text="""\
240 of 600 demonstrations are wrong (40 %). PoFT's trust tau says how much it believes each one.
We look at the 240 that it trusts least. The judge is the aligned model. It was trained on right
demonstrations, on others with the same noise, or it is the policy itself.""",
    statements=(
        "The judge learnt from right demonstrations: more than 75 % of the 240 are wrong.",
        "The judge learnt from rows with the same noise: still more than 60 % are wrong.",
        "The judge is the policy itself: between 32 and 48 % are wrong.",
        "The judge's own opinion, without the policy's, would find more wrong rows than tau does."),
    hints=("What is tau if both models say the same of every row?",
           'Lesson 11, "One equation" and "Live".',
           "equal opinions:   tau = 1/2 for all, so the order is that of the file."),
)]
