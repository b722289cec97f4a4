"""A stranger's chat template is tried in a process of its own, with limits of time and memory.

    try_out(template)           # UserError if it takes too much

A template is a program. transformers runs it in a sandbox, which limits what it may reach, not how
long it takes: {{ 9**(9**9) }} is computed while the template is compiled. So it is compiled and
run once in a child that the system kills. Other mistakes are found, and named, later.
"""
import json
import subprocess
import sys
from functools import lru_cache

from nanouft.errors import UserError

SECONDS = 5             # of a processor
BYTES = 2**30           # of memory
WAIT = 60               # seconds for a machine that is busy
PROGRAM = """
import contextlib, json, sys
seconds, most, template = json.load(sys.stdin)
with contextlib.suppress(ImportError, ValueError, OSError):     # Windows has no such limits
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
from jinja2.sandbox import ImmutableSandboxedEnvironment
def stop(text=""): raise ValueError(text)
talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
try:
    jinja = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                          extensions=["jinja2.ext.loopcontrols"])
    jinja.from_string(template).render(messages=talk, raise_exception=stop, bos_token="",
                                       eos_token="", strftime_now=str)
except (MemoryError, OverflowError, RecursionError):
    raise SystemExit(1)
except Exception:
    pass
"""


@lru_cache
def try_out(template: str) -> None:
    """UserError if a template needs more than SECONDS or BYTES for two short turns."""
    try:
        child = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True,
                               input=json.dumps([SECONDS, BYTES, template]).encode(), timeout=WAIT)
    except subprocess.TimeoutExpired:
        pass
    else:
        if child.returncode == 0:
            return
    raise UserError(f"the chat template took more than {SECONDS} seconds or {BYTES / 2**30:g} GiB "
                    "for two short turns; repair it (chat_template), or delete it for nanouft's "
                    "own")
