"""Debug task of lesson 05, the other way round: the program is a test that is too weak."""
import torch

from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case
from nanouft.objectives.ift import own_guess

PROGRAM = '''
import torch

# inputs, mask of the TARGETS, the model's guesses for the next token, what the model should see
ROWS = [
    ([0, 1, 2, 9], [1, 1, 1, 0], [1, 3, 9, 9], [0, 1, 3, 9]),
    ([7, 0, 1, 2, 9, 5], [0, 1, 1, 1, 0, 0], [8, 1, 3, 9, 6, 6], [7, 0, 1, 3, 9, 5]),
]


def is_broken(own_guess):
    """Is this own_guess(inputs, mask, argmax) broken? All three are (1,T) tensors."""
    for inputs, mask, argmax, wanted in ROWS:
        got = own_guess(torch.tensor([inputs]), torch.tensor([mask]), torch.tensor([argmax]))
        places = range(len(wanted))
        if any(got[0, i] != wanted[i] for i in places):
            return True
    return False
'''


def mutant(shift=1, where="response", source="argmax"):
    """An own_guess that is broken in one way."""
    def broken(inputs, mask, argmax):
        before = torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], 1)
        on = {"response": before, "early": mask, "prompt too": torch.ones_like(mask),
              "padding too": before | (mask.cumsum(1) > 1).to(mask.dtype),
              "first": before * (before.cumsum(1) == 1)}[where]
        new = {"argmax": argmax, "gold": inputs,
               "zeros": torch.zeros_like(inputs)}[source].roll(shift, 1)
        if source == "gold":
            new = inputs
        out = torch.where(on > 0, new, inputs)
        out[:, 0] = inputs[:, 0]
        return out
    return broken


SHOWN = {
    "the right one": own_guess,
    "the guess is not shifted": mutant(shift=0),
    "the guess is shifted twice": mutant(shift=2),
    "the mask is used one place early": mutant(where="early"),
    "the prompt is replaced, too": mutant(where="prompt too"),
    "padding is replaced, too": mutant(where="padding too"),
    "only the first guess is used": mutant(where="first"),
}
HIDDEN = [*SHOWN.values(), mutant(shift=-1), mutant(source="gold"), mutant(source="zeros")]

TASKS = [debug(
    "05d", level=3, minutes=20, core=False, heading="Make the guess, shift it",
    signature="is_broken(own_guess)", program=PROGRAM, random=lambda draw: (draw.choice(HIDDEN),),
    text="""\
A test of own_guess (05a) is given. It has one weakness: it lets broken functions pass, or it
refuses the right one. Repair it. It is tried on the functions named below and on three more.

own_guess puts the guess that was made at place i - 1 at place i, where place i holds a token of
the answer. All other places keep their token.""",
    ask="What does the test do, with the weakness in it?",
    cases=tuple(Case((function,), words) for words, function in SHOWN.items()),
    log=("it refuses the right function", "it lets every function pass",
         "it lets functions pass that are wrong in the prompt only",
         "it lets functions pass that are wrong at the end only",
         "it says the opposite of what it should",
         "it lets a function pass if the guesses are shifted twice, and refuses all others"),
    bugs=(
        Bug("only one row is tried, and it has no prompt", "in ROWS:", "in ROWS[:1]:", "c",
            "Which place of the first row belongs to a prompt?",
            "A test needs a row for every way to be wrong."),
        Bug("only the first places are looked at", "places = range(len(wanted))",
            "places = range(2)", "d",
            "Which places does your loop compare?",
            "A wrong place that nobody compares is never found."),
        Bug("a wrong answer is expected", "[1, 3, 9, 9], [0, 1, 3, 9]",
            "[1, 3, 9, 9], [0, 3, 9, 9]", "a",
            "Work out the first row by hand. Is what is wanted right?",
            "Run a test on code that is right, too. Then run it on code that is wrong."),
        Bug("only the length is compared",
            "        if any(got[0, i] != wanted[i] for i in places):",
            "        if len(got[0]) != len(wanted):", "b",
            "Which functions have a row of the wrong length?",
            "A test that cannot fail tests nothing."),
        Bug("yes and no are exchanged", "            return True\n    return False",
            "            return False\n    return True", "e",
            "What should the right function give: True or False?",
            "Read the name of a test as a question, and answer it."),
        Bug("only the places that the mask names are compared", "places = range(len(wanted))",
            "places = [i for i, m in enumerate(mask) if m]", "d",
            "The mask is that of the TARGETS. Which inputs does it name?",
            "What should stay as it is must be tested, too."),
    ),
    hints=("Run the test on the right function, then on each broken one. Which answer surprises "
           "you?",
           "Lesson 05 and task 05a: what own_guess should do at each place.",
           "inputs 7 0 1 2 9 5   ->   7 0 1 3 9 5"),
)]
