"""How long the parts of a run take: python -m nanouft.train ... --profile

    clock = Stopwatch()
    rows = load_rows(...)
    clock.lap("rows")               # the time since the lap before, or since the start of Python
    say(clock.table())

Two clocks run. The first one is the wall's. The other counts the seconds in which the processor
worked for this process, in all its threads; other programs disturb it less. With a GPU the wall's
clock tells more, because the processor mostly waits.
"""
import time

import nanouft


class Stopwatch:
    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}        # of each part, in order
        self.wall, self.cpu = nanouft.BEGAN, 0.0            # at the last lap

    def lap(self, part: str) -> None:
        """All time since the last lap belongs to this part."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.parts[part] = {"seconds": wall - self.wall, "cpu_seconds": cpu - self.cpu}
        self.wall, self.cpu = wall, cpu

    def table(self) -> str:
        """The parts, a line each, with their share of the processor's seconds."""
        wall, cpu = (sum(part[clock] for part in self.parts.values())
                     for clock in ("seconds", "cpu_seconds"))
        lines = [f"{'part':<22}{'seconds':>9}{'of the CPU':>12}{'share, %':>10}"]
        for name, part in [*self.parts.items(), ("all", {"seconds": wall, "cpu_seconds": cpu})]:
            seconds, work = part["seconds"], part["cpu_seconds"]
            lines.append(f"{name:<22}{seconds:9.2f}{work:12.2f}{100 * work / cpu:10.0f}")
        return "\n".join(lines)
