"""The right functions of piece machine, and common mistakes."""
import torch

from lessons.pieces.runs import machine, step_seconds
from lessons.tasks.task import Task
from nanouft.gpt import NANO, shipped_base

FACTOR = 4                      # between a prediction and the clock
ALIKE = 0.02                    # operations are counted, so they are known to a few per cent


def operations(B, T, layers, width, vocab):
    of_matrices = layers * 12 * width**2 + vocab * width
    return 3 * (2 * B * T * of_matrices + layers * 4 * B * T * T * width)


def bytes_of_update(parameters):
    return 4 * 7 * parameters


def launches(layers):
    """2 embeddings, 1 arange, 1 sum, 1 norm, 1 head; per layer 2 norms, 4 matrices, 2 sums, gelu,
    attention."""
    return 6 + 10 * layers


def bound(operations, bytes_moved, launches, peak, bandwidth, launch):
    times = {"arithmetic": operations / peak, "memory": bytes_moved / bandwidth,
             "launches": launches * launch}
    return max(times, key=times.get)


def shapes(draw):
    return (draw.randint(1, 8), draw.choice([32, 128, 512]), draw.randint(1, 6),
            draw.choice([16, 32]), draw.choice([500, 1024]))


def amounts(draw):
    """The three times are within a factor of a hundred of each other."""
    peak, bandwidth, launch = (10 ** draw.uniform(low, low + 2) for low in (10, 9, -6))
    a, b, c = (10 ** draw.uniform(-3, -1) for _ in range(3))
    return (round(a * peak), round(b * bandwidth), max(1, round(c / launch)), peak, bandwidth,
            launch)


def outcome(operations, bytes_of_update, launches, bound):
    """A step of the base: the longest of your three times beside the clock. The forward pass has a
    third of the launches."""
    model = shipped_base()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    peak, bandwidth, tiny = machine()
    launch = tiny / (3 * launches(NANO.n_layer))
    yield (f"In a second one thread does {peak / 1e9:.1f} billion operations and moves "
           f"{bandwidth / 1e9:.1f} billion bytes. A launch takes {1e6 * launch:.2f} us.")
    size = (NANO.n_layer, NANO.n_embd, NANO.vocab_size)
    parameters = sum(p.numel() for p in model.parameters())
    for B, T in ((1, 4), (1, 64), (32, 64)):
        amounts = operations(B, T, *size), bytes_of_update(parameters), 3 * launches(NANO.n_layer)
        times = amounts[0] / peak, amounts[1] / bandwidth, amounts[2] * launch
        took = step_seconds(model, B, T, optimizer)
        factor = took / max(times)
        near = "within" if 1 / FACTOR < factor < FACTOR else "NOT within"
        yield (f"{B:3} rows of {T:2} tokens: " + ", ".join(f"{1000 * x:.2f}" for x in times)
               + f" ms, so bound by {bound(*amounts, peak, bandwidth, launch)}. The clock says "
               f"{1000 * took:.2f} ms, {near} a factor of {FACTOR}.")


TASKS = {
    "machine: operations": Task(operations, shapes, [
        ("3 * (", "(", "This is the forward pass. The backward one takes twice as many."),
        ("3 * (", "2 * (", "The backward pass takes two products for each one of the forward "
         "pass: by the inputs and by the weights."),
        ("(2 * B", "(B", "A multiplication and an addition are two operations."),
        (" + vocab * width", "", "The output head is missing. It is the largest matrix here."),
        (" + vocab * width", " + 2 * vocab * width", "The embedding looks a row up and multiplies "
         "nothing. Only the head does."),
        (" + layers * 4 * B * T * T * width", "", "Attention's own two products are missing, "
         "that of q and k and that with v. Their size is T x T for each head."),
        ("layers * 4 * B", "layers * 2 * B", "Attention has two products of T x T: that of q and "
         "k, and that with v."),
        ("12 * width**2", "4 * width**2", "The MLP is missing: its two matrices have 8 C^2 "
         "weights."),
        ("12 * width**2", "8 * width**2", "Attention's matrices are missing: q, k, v and the "
         "projection have 4 C^2 weights.")], tolerance=ALIKE),
    "machine: bytes": Task(bytes_of_update, lambda draw: (draw.randint(10**3, 10**9),), [
        ("7 *", "4 *", "What is read is there: weight, gradient and both means. Three of them are "
         "written again."),
        ("7 *", "3 *", "AdamW keeps two means of each weight, and reads and writes them."),
        ("7 *", "6 *", "The gradient is read as well."),
        ("7 *", "8 *", "The gradient is read and not written."),
        ("4 * 7", "2 * 7", "A number in fp32 has four bytes.")], tolerance=ALIKE),
    "machine: launches": Task(launches, lambda draw: (draw.randint(1, 48),), [
        ("6 + 10 * layers", "10", "Every layer launches its own operations."),
        ("6 + 10 * layers", "2 * (6 + 10 * layers)", "Twice as many: what only looks at the same "
         "memory in another shape, as a split or a transpose, is no launch."),
        ("6 + 10 * layers", "4 * layers + 1", "These are the products with matrices. Norms, sums, "
         "gelu and attention are launches, too.")], tolerance=0.3),
    "machine: bound": Task(bound, amounts, [
        ("max(times", "min(times", "The longest time bounds a step, not the shortest."),
        ("launches * launch}", "launches / launch}", "`launch` is the seconds of one launch."),
        ("bytes_moved / bandwidth", "bytes_moved / peak", "Bytes are divided by the bandwidth.")])}
