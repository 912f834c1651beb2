"""Make the consumer's side of the demo: an environment that has the wheel and nothing of the pipeline.

Reads the project. Leaves a virtual environment and the wheel.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "fastai", "dvc", "prefect")


def environment_with_the_wheel(project: Path, folder: Path) -> Path:
    """Return the path of the program `petmodels` in an environment that has the wheel and what it asks for.

    Raises subprocess.CalledProcessError where a step fails; its output has been shown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = folder / "venv"
    python = environment / "bin/python"
    pip, pins = [sys.executable, "-m", "pip"], str(project / "constraints.txt")
    wheels = folder / "wheels"
    shutil.rmtree(project / "build/lib", ignore_errors=True)  # what setuptools has built there before, it packs again
    building = [*pip, "wheel", "--build-constraint", pins, "--quiet", "--no-deps", "--wheel-dir", str(wheels)]
    subprocess.run([*building, str(project)], check=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    wheel = max(wheels.glob("petmodels-*.whl"), key=lambda path: path.stat().st_mtime)
    into = [*pip, "--python", str(python), "install", "--quiet", "--constraint", pins]
    subprocess.run([*into, f"{wheel}[onnx]"], check=True)
    subprocess.run([*into, "--no-deps", "--force-reinstall", str(wheel)], check=True)
    _check_light(python)
    return environment / "bin/petmodels"


def _check_light(python: Path) -> None:
    question = f"import importlib.util as u; print(*[n for n in {HEAVY!r} if u.find_spec(n)])"
    found = subprocess.run([str(python), "-c", question], check=True, capture_output=True, text=True).stdout.split()
    assert not found, f"the consumer's environment has {found}"
    print(f"the consumer's environment has no {', no '.join(HEAVY)}", flush=True)
