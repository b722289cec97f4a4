"""The right function of ex02.py, and common mistakes."""
from lessons.tasks.task import Task


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
        ("mask[1:]", "mask", "The targets are the row without its first token."),
        (" and not header))\n    return mask[1:]", "))\n    return mask[:-1]", "The header after "
         "an answer counts. Either the shift is missing, or the speaker changes a word too late."),
        ("mask[1:]", "([0] + mask)[:-2]", "The shift goes the wrong way: target i is token i + 1, "
         "not token i - 1."),
        ('int(speaker == "assistant" and not header)', "1", "Everything counts. Only what the "
         "assistant says should."),
        ('speaker == "assistant"', 'speaker == "user"', "What the user says counts. What the "
         "assistant says should."),
        (" and not header", "", "A header does not count, even that of the assistant."),
        ('header else speaker\n', 'header and speaker != "assistant" else speaker\n', "What the "
         "user says after the first answer counts as well. Each header says who speaks from there "
         "on."),
        ("        speaker = ", '        mask = [0] * len(mask) if token == "assistant" else mask\n'
         "        speaker = ", "Only the last turn of the assistant counts. All of its turns "
         "should."),
        ("and not header))\n", 'and not header))\n        speaker = "" if token == "end" else '
         "speaker\n", 'The assistant may say "end" and go on. It speaks until the next header.'),
        ('header = token in ("user", "assistant")',
         'header = token == "user" or token == "assistant" != speaker',
         "Each header is left out, even if the same speaker has just had a turn."),
        ("not header", 'not header and token != "end"',
         "The end of what the assistant says counts: it has to learn to stop."),
        ("int(speaker", 'int(token == "end" or speaker', "The end of what the user says does not "
         "count.")], always=[
             (["user", "hi", "assistant", "yo", "end"],), (["user", "assistant", "yo"],),
             (["user", "assistant", "end", "yo", "end", "user", "hi"],)])}
