"""Show the hand-over: a bundle goes into an S3 store and comes out on the consumer's side.

Reads a bundle and the project's wheel. Leaves, beside the demo's data, a virtual environment that has the wheel and
nothing of the pipeline, and the pulled model. The store runs on this machine, and is gone when this ends.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.object_store import BUCKET, serving, weed

HEAVY = ("torch", "fastai", "dvc", "prefect")


def hand_over(project: Path, bundle: Path, image: Path, folder: Path) -> None:
    """Publish `bundle`, promote it, pull it with the wheel alone, and print what it says about `image`.

    Raises subprocess.CalledProcessError where a step fails; its output has been shown.
    """
    if weed() is None:
        print("handover: no S3 server on this platform; next: petmodels publish", file=sys.stderr)
        return
    folder.mkdir(parents=True, exist_ok=True)
    consumer = _environment_with_the_wheel(project, folder)
    with tempfile.TemporaryDirectory() as store, serving(Path(store)) as server:
        base = {name: value for name, value in os.environ.items() if not name.startswith("PETMODELS_")}
        variables = base | server.environment() | {"PETMODELS_REGISTRY": f"s3://{BUCKET}/demo"}
        variables["PETMODELS_CACHE"] = str(folder.resolve() / "cache")
        for arguments in (
            ["publish", str(bundle), "--model", "pets"],
            ["promote", "pets@1", "production"],
            ["pull", "pets@production", str(folder / "pulled")],
            ["predict", str(image), "--model", "pets@production"],
        ):
            print(f"$ petmodels {' '.join(arguments)}", flush=True)
            subprocess.run([str(consumer), *arguments], env=variables, check=True)


def _environment_with_the_wheel(project: Path, folder: Path) -> Path:
    """Return the path of the program `petmodels` in an environment that has the wheel and what it asks for."""
    environment = folder / "venv"
    python = environment / "bin/python"
    pip = [sys.executable, "-m", "pip"]
    wheels = folder / "wheels"
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(project)], check=True)
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    wheel = max(wheels.glob("petmodels-*.whl"), key=lambda path: path.stat().st_mtime)
    into = [*pip, "--python", str(python), "install", "--quiet", "--constraint", str(project / "constraints.txt")]
    subprocess.run([*into, f"{wheel}[onnx]"], check=True)
    subprocess.run([*into, "--no-deps", "--force-reinstall", str(wheel)], check=True)
    _check_light(python)
    return environment / "bin/petmodels"


def _check_light(python: Path) -> None:
    question = f"import importlib.util as u; print(*[n for n in {HEAVY!r} if u.find_spec(n)])"
    found = subprocess.run([str(python), "-c", question], check=True, capture_output=True, text=True).stdout.split()
    assert not found, f"the consumer's environment has {found}"
    print(f"the consumer's environment has no {', no '.join(HEAVY)}", flush=True)
