"""The right function of ex02.py, and common mistakes."""
from lessons.behind.tasks.task import Task


def response_mask(tokens):
    mask, speaker = [], ""
    for token in tokens:
        header = token in ("user", "assistant")
        speaker = token if header else speaker
        mask.append(int(speaker == "assistant" and not header))
    return mask[1:]


def conversation(draw):
    """A chat, perhaps cut off: either of the two may say "end", an answer ends with it, and each
    may have several turns, one after the other."""
    chat = []
    for _ in range(draw.randint(1, 3)):
        for _ in range(draw.choice([1, 1, 2])):
            chat += ["user", *draw.choices(["hi", "end"], k=draw.randint(0, 2))]
        for _ in range(draw.choice([1, 1, 2])):
            chat += ["assistant", *draw.choices(["yo", "end"], k=draw.randint(0, 2)), "end"]
    return (chat[:draw.randint(2, len(chat))],)


TASKS = {
    "02a": Task(response_mask, conversation, [
        ("mask[1:]", "mask[:-1]", "There is no shift. Target i is token i + 1, so leave out the "
         "number of the first token, not of the last."),
        ("return mask[1:]", "return mask", "It is one number too long: nothing predicts the first "
         "token, so a row has one target less than tokens. Leave out the first number."),
        ("int(speaker ==", 'int(token == "end" or speaker ==', 'The user may say "end", too. It '
         "counts only where the assistant speaks."),
        ("for token in tokens:", "for token in [None, *tokens[1:]]:", "The header at index 0 is "
         "missed. It says who speaks, although it is not a target itself."),
        ("    return mask[1:]", "    last = len(tokens) - tokens[::-1].index('assistant') if "
         "'assistant' in tokens else 0\n    return [0] * (last - 1) + mask[max(1, last):]",
         "Only the last turn of the assistant counts. All of them do."),
        (" and not header", "", "A header does not count, even that of the assistant."),
        ("and not header))\n", 'and not header))\n        speaker = "" if token == "end" else '
         "speaker\n", 'The assistant may say "end" and go on. It speaks until the next header.')],
        always=[(row.split(),) for row in (
            "user hi assistant yo end", "user", "user hi", "user assistant yo", "assistant yo end",
            "user end assistant", "assistant end yo user hi",
            "user assistant end yo end user hi", "user user hi assistant end assistant end user",
            "user assistant end user assistant end user assistant end user assistant end")])}
