"""Tasks of lesson 05."""
from random import Random

import torch

from lessons.grade import forms
from lessons.grade.debug import Bug, debug
from lessons.grade.task import Case, Law, Mistake, Task
from nanouft.objectives import ift
from nanouft.objectives.ift import own_guess


# ==== The model's own guess, and the blend of two words ===========================================
# ---- 05a -----------------------------------------------------------------------------------------
def guess_model(inputs, mask, argmax, shift=1, replaced="answer", kept="inputs", given="guess",
                circle=False, rows="all"):
    B, T = inputs.shape
    guess = inputs.clone()
    for i in range(T):
        if circle or 0 <= i - shift < T:
            guess[:, i] = argmax[:, (i - shift) % T]
    at = torch.zeros_like(mask)
    at[:, 1:] = mask[:, :-1]                                # place i is an answer's word
    if replaced == "circle":
        at = mask.roll(1, 1)
    if replaced == "mask":
        at = mask
    if replaced == "all":
        at = torch.ones_like(mask)
    if rows == "first mask":
        at = at[:1].expand(B, T)
    rest = torch.zeros_like(inputs) if kept == "zeros" else inputs
    out = torch.where(at > 0, inputs if given == "truth" else guess, rest)
    return out[:1] if rows == "first" else out


def random_row(rng: Random):
    B, T = rng.randint(1, 2), rng.randint(6, 7)
    mask = [[int(x) for x in forms.mask(rng, T)] for _ in range(B)]
    first, second = ([[rng.randint(1, 9) for _ in range(T)] for _ in range(B)] for _ in range(2))
    return torch.tensor(first), torch.tensor(mask), torch.tensor(second)


def other_guesses_are_free(guess, args) -> bool:
    inputs, mask, argmax = args
    one, other = (torch.as_tensor(guess(inputs.clone(), mask, x)).tolist()
                  for x in (argmax, torch.where(mask == 1, argmax, argmax + 1)))
    return one == other


def prompt_stays(guess, args) -> bool:
    """Up to the first place whose target is a word of the answer, nothing is replaced."""
    inputs, mask, _ = args
    n = int(mask[0].argmax()) + 1
    return torch.as_tensor(guess(*args))[0, :n].tolist() == inputs[0, :n].tolist()


GUESS = Task(
    "05a", "implement", level=1, minutes=15, core=True,
    signature="own_guess(inputs, mask, argmax)",
    text="""What would the model itself have put at each place of the answer?

    inputs  (B,T) the true tokens that the model reads
    mask    (B,T) 1 where the TARGET is a token of the answer. The target of place i is the token
            at place i + 1. So the token AT place i belongs to the answer if the mask of place
            i - 1 is 1.
    argmax  (B,T) the model's likeliest next token at each place: argmax[:, i] is its guess for
            place i + 1
    return  (B,T) the guess FOR place i where place i holds a token of the answer, else the true one

Place 0 always keeps its token. Do not change `inputs` itself: return a new tensor.
Example: P is the prompt, E the end. inputs P a b E, mask 1 1 1 0, argmax a c E E -> P a c E.
The guess for place 2 was made at place 1, and it is c.""",
    heading="Make the guess, shift it",
    right=ift.own_guess, model=guess_model,
    cases=(
        Case((torch.tensor([[0, 1, 2, 9]]), torch.tensor([[1, 1, 1, 0]]),
              torch.tensor([[1, 3, 9, 9]])), "P a b c E are 0 1 2 3 9"),
        Case((torch.tensor([[7, 0, 1, 2, 9, 5]]), torch.tensor([[0, 1, 1, 1, 0, 0]]),
              torch.tensor([[8, 1, 3, 9, 6, 6]])), "a longer prompt, and padding"),
        Case((torch.tensor([[7, 1, 2, 4], [7, 8, 1, 2]]),
              torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1]]),
              torch.tensor([[3, 5, 6, 6], [6, 3, 5, 9]])), "two rows; the second one is cut off"),
    ),
    random=random_row,
    laws=(Law("the prompt must stay as it is", prompt_stays),
          Law("another argmax where the mask is 0 must change nothing", other_guesses_are_free)),
    mistakes=(
        Mistake("the guesses are not shifted", dict(shift=0),
                "At which place was the guess for place 2 made?",
                "argmax[i] names the NEXT token. It belongs one place further to the right."),
        Mistake("neither the guesses nor the mask are shifted", dict(shift=0, replaced="mask"),
                "The mask is 1 at place i. Which token belongs to the answer: i or i + 1?",
                "Both look one token ahead. For the inputs, both move one place to the right."),
        Mistake("the guesses are shifted twice", dict(shift=2),
                "At which place was the guess for place 2 made?",
                "One place read, one token named: one shift."),
        Mistake("the guesses are shifted the other way", dict(shift=-1),
                "Has a guess been made before or after its place is read?",
                "A guess comes from the left. The other way, the model would answer too early."),
        Mistake("prompt and padding are replaced, too", dict(replaced="all"),
                "Who wrote the prompt? May the model change it?",
                "IFT asks what if *I* had said this word. The question is not the model's word."),
        Mistake("the whole row of guesses is returned, turned round by one place",
                dict(replaced="all", circle=True),
                "Where does your token at place 0 come from?",
                "`roll` is a circle. And only words of the answer are replaced by guesses."),
        Mistake("mask and guesses are turned round, and place 0 gets what fell off the end",
                dict(replaced="circle", circle=True),
                "What does place 0 get if the last target belongs to the answer?",
                "`roll` is a circle. A row that is cut off shows it: its last mask is 1."),
        Mistake("the mask of the first row is used for all rows", dict(rows="first mask"),
                "Where does the answer of the second row begin?",
                "Every row has a mask of its own: questions differ in length."),
        Mistake("only the first row comes back", dict(rows="first"),
                "How many rows come in, and how many go out?",
                "A batch has B rows. An index 0 loses all but one."),
        Mistake("the mask of the targets is used for the inputs", dict(replaced="mask"),
                "The mask is 1 at place i. Which token belongs to the answer: i or i + 1?",
                "The mask looks one token ahead. For the inputs it must be shifted, too."),
        Mistake("the true token is returned everywhere", dict(given="truth"),
                "In the example the guess differs from the truth once. Where is it in yours?",
                "This is SFT: the model never meets its own slips."),
        Mistake("there are zeros where the true token should stay", dict(kept="zeros"),
                "What does the model read as a prompt, if you return this?",
                "Multiplying by the mask removes the prompt. Choose between the two tokens."),
    ),
    hints=("Which number in argmax is the guess for place 2?",
           "Lesson 05, \"Make the guess, shift it\".",
           "place    0 1 2 3      argmax of the places before    - a c E\n"
           "inputs   P a b E      own guess                      P a c E"),
)


# ---- 05b -----------------------------------------------------------------------------------------
def blend(E, gold, guess, lam):
    """As ift.forward has it, with the embedding as a plain table."""
    with torch.no_grad():
        return (1 - lam) * E[gold] + lam * E[guess]


def blend_model(E, gold, guess, lam, mix="right", share=None, gradient="none"):
    lam = lam if share is None else share
    if mix == "ids":
        mixed = ((1 - lam) * gold + lam * guess).round().long()
        return E[mixed] if gradient == "both" else E[mixed].detach()
    first = E[gold] if gradient in ("both", "gold") else E[gold].detach()
    second = E[guess] if gradient in ("both", "guess") else E[guess].detach()
    a, b = {"right": (1 - lam, lam), "swapped": (lam, 1 - lam), "added": (1, lam)}[mix]
    return a * first + b * second


def random_words(rng: Random):
    torch.manual_seed(rng.randrange(10**6))
    gold, guess = rng.sample(range(6), 2), rng.sample(range(6), 2)
    return torch.randn(6, 3), torch.tensor(gold), torch.tensor(guess), rng.choice([0.1, 0.3, 0.7])


def no_share_is_gold(blend, args) -> bool:
    E, gold, guess, _ = args
    return torch.allclose(torch.as_tensor(blend(E, gold, guess, 0.0)).float(), E[gold], atol=1e-4)


def equal_words_stay(blend, args) -> bool:
    """Where the guess is the true word, lam changes nothing."""
    E, gold, _, lam = args
    return torch.allclose(torch.as_tensor(blend(E, gold, gold, lam)).float(), E[gold], atol=1e-4)


E = torch.tensor([[0.0, 0], [1, 0], [0, 1], [2, 2]])
ONE, TWO, THREE = torch.tensor([1]), torch.tensor([2]), torch.tensor([3])

BLEND = Task(
    "05b", "implement", level=2, minutes=10, core=True,
    signature="blend(E, gold, guess, lam)",
    text="""What the model reads in IFT: a blend of the true word and of its own guess.

    E       (V,C) the embedding: row x is the list of numbers that stands for token x
    gold    (n,)  ids of the true tokens
    guess   (n,)  ids of the tokens that the model guessed
    lam     the share of the guess, from 0 to 1
    return  (n,C) (1 - lam) times the row of the true token plus lam times the row of the guess

The blend is a plain input: no gradient may flow from it into E, from neither of the two halves.
(Else the model could change what it reads, and not what it says.)
Example: E[1] = (1, 0), E[2] = (0, 1), gold 1, guess 2, lam .2 -> (.8, .2).""",
    heading="One equation",
    right=blend, model=blend_model, gradients=(0,),
    cases=(
        Case((E, ONE, TWO, 0.2), "gold (1, 0), guess (0, 1), lam = .2"),
        Case((E, ONE, THREE, 0.5), "gold (1, 0), guess (2, 2), lam = .5"),
        Case((E, ONE, THREE, 0.0), "lam = 0"),
    ),
    random=random_words,
    laws=(Law("with lam = 0 only the true words are left", no_share_is_gold),
          Law("where the guess is the true word, lam must change nothing", equal_words_stay)),
    mistakes=(
        Mistake("lam is on the wrong half", dict(mix="swapped"),
                "Whose word should be the larger part if lam is .2?",
                "lam is the share of the guess. With lam = 0 the model reads what SFT reads."),
        Mistake("the guess is added, and the true word is not reduced", dict(mix="added"),
                "What do your two shares add up to?",
                "A blend is a weighted mean. Else the input grows, and the model never met that."),
        Mistake("the ids are mixed, and then looked up", dict(mix="ids"),
                "Which word is half-way between token 1 and token 3?",
                "Ids are names, not sizes. Only the lists of numbers they stand for can be mixed."),
        Mistake("lam is .2 whatever is asked", dict(share=0.2),
                "What should come out with lam = 0?",
                "A number from the paper stands where the argument should."),
        Mistake("gradient flows into E", dict(gradient="both"),
                "Which rows of E would training move, if your blend stood in a loss?",
                "Values do not show it: the model may learn to change its inputs."),
        Mistake("gradient still flows into the half of the true word", dict(gradient="gold"),
                "Which of your two terms is cut off from the gradient?",
                "Both halves are inputs. One detached half leaves the other way open."),
        Mistake("gradient still flows into the half of the guess", dict(gradient="guess"),
                "Which of your two terms is cut off from the gradient?",
                "The guess is a choice, made before the loss. Nothing can be learnt through it."),
    ),
    hints=("What should come out for lam = 0, and for lam = 1?",
           "Lesson 05, \"One equation\". For the gradient: torch.no_grad, or .detach().",
           "gold (1, 0), guess (0, 1): lam = .5 -> (.5, .5)\n"
           "lam = .2 -> (.8, .2): four fifths are the true word"),
)

TASKS = [GUESS, BLEND]


# ==== A program with a bug, the other way round: the program is a test that is too weak ===========
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

TASKS += [debug(
    "05d", level=3, minutes=20, core=False, heading="Make the guess, shift it",
    signature="is_broken(own_guess)", program=PROGRAM, random=lambda draw: (draw.choice(HIDDEN),),
    text="""\
A test of own_guess (05a) is given. It has one weakness: it lets broken functions pass, or it
refuses the right one. Repair it. It is tried on the right function, on six broken ones (no shift,
two shifts, the mask one place early, the prompt replaced, padding replaced, only the first guess
used), and on three more.

own_guess puts the guess that was made at place i - 1 at place i, where place i holds a token of
the answer. All other places keep their token.""",
    ask="What does the test do, with the weakness in it?",
    cases=tuple(Case((function,), words) for words, function in SHOWN.items()),
    log=("it refuses every function, the right one, too", "it lets every function pass",
         "a function that is wrong in the prompt passes, one that never shifts does not",
         "a function that is wrong in the padding passes, one that is wrong in the prompt does not",
         "it says the opposite of what it should",
         "it lets a function pass if the guesses are shifted twice, and refuses all others"),
    bugs=(
        Bug("nothing beside the answer is tested", "in ROWS:", "in ROWS[:1]:", "c",
            "Which place of the first row belongs to a prompt?",
            "A test needs a row for every way to be wrong."),
        Bug("mistakes late in a row are let through", "places = range(len(wanted))",
            "places = range(2)", "d",
            "Which places does your loop compare?",
            "A wrong place that nobody compares is never found."),
        Bug("every function is refused, the right one, too", "[1, 3, 9, 9], [0, 1, 3, 9]",
            "[1, 3, 9, 9], [0, 3, 9, 9]", "a",
            "Work out the first row by hand. Is what is wanted right?",
            "Run a test on code that is right, too. Then run it on code that is wrong."),
        Bug("no function is refused",
            "        if any(got[0, i] != wanted[i] for i in places):",
            "        if len(got[0]) != len(wanted):", "b",
            "Which functions have a row of the wrong length?",
            "A test that cannot fail tests nothing."),
        Bug("yes and no are exchanged", "            return True\n    return False",
            "            return False\n    return True", "e",
            "What should the right function give: True or False?",
            "Read the name of a test as a question, and answer it."),
        Bug("mistakes in the padding are let through", "places = range(len(wanted))",
            "places = [i for i, m in enumerate(mask) if m]", "d",
            "The mask is that of the TARGETS. Which inputs does it name?",
            "What should stay as it is must be tested, too."),
    ),
    hints=("Run the test on the right function, then on each broken one. Which answer surprises "
           "you?",
           "Lesson 05 and task 05a: what own_guess should do at each place.",
           "inputs 7 0 1 2 9 5   ->   7 0 1 3 9 5"),
)]
