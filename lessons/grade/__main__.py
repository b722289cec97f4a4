"""python -m lessons.grade --check [07a ...]"""
import importlib
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))


def main() -> int:
    import torch
    torch.set_num_threads(1)
    from lessons.grade.check import check
    ids = [word for word in sys.argv[1:] if word != "--check"]
    files = sorted(Path(__file__).parent.glob("tasks/t*.py"))
    count = 0
    for file in files:
        if ids and not any(file.name[1:3] == word[:2] for word in ids):
            continue
        for task in importlib.import_module(f"lessons.grade.tasks.{file.stem}").TASKS:
            if ids and not any(task.id.startswith(word) for word in ids):
                continue
            start = time.time()
            lines = check(task)
            count += len(lines)
            print(f"{task.id}  {len(task.mistakes)} mistakes, {time.time() - start:.1f} s, {'ok' if not lines else ''}")
            for line in lines:
                print("     ", line)
    return 1 if count else 0


raise SystemExit(main())
