"""A plan is printed with the standard library alone: naming a method must not load torch."""

import subprocess
import sys

from harness import plugins

KINDS = ("models", "criteria", "distillation", "self_distillation")


def test_no_spec_file_imports_torch() -> None:
    modules = [f"harness.{kind}.{name}" for kind in KINDS for name in plugins.names(kind)]
    assert len(modules) >= 4
    code = f"import {', '.join([*modules, 'harness.schedule', 'harness.recipe'])}, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
