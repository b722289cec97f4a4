"""Modules that had another name in version 5. Until version 7 the old name is found, too."""
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location

MOVED = {
    "nanouft.compare.asked": "nanouft.compare.scoring",
    "nanouft.compare.code": "nanouft.compare.fingerprint",
    "nanouft.compare.comparison": "nanouft.compare.plan",
    "nanouft.compare.judge": "nanouft.compare.by_task",
    "nanouft.compare.looks": "nanouft.compare.testset_reuse",
    "nanouft.compare.parts": "nanouft.compare.splits",
    "nanouft.compare.passes": "nanouft.compare.cached_log_probs",
    "nanouft.compare.processes": "nanouft.compare.workers",
    "nanouft.flat": "nanouft.minimal_train",
    "nanouft.plumbing.tensors": "nanouft.plumbing.safetensors_files",
    "nanouft.run.measure": "nanouft.run.eval_metrics",
    "nanouft.run.pace": "nanouft.run.hyperparameters",
    "frozen_lake.estimate": "frozen_lake.temporal_residual",
    "frozen_lake.learn": "frozen_lake.train",
    "frozen_lake.table": "frozen_lake.results_table",
}


class OldNames:
    """Python asks it for a module that nothing else finds."""
    @staticmethod
    def find_spec(name: str, *where: object) -> ModuleSpec | None:
        if name not in MOVED:
            return None
        print(f"{name} is called {MOVED[name]} now", file=sys.stderr)
        file = find_spec(MOVED[name])
        return file and spec_from_file_location(name, file.origin)
