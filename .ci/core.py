"""Use an installed core as the README says, without the repository: python -I core.py README.md COMMAND."""

import importlib
import importlib.metadata
import re
import subprocess
import sys
import time
from pathlib import Path

readme, command = sys.argv[1:]
installed = {distribution.metadata["Name"].lower() for distribution in importlib.metadata.distributions()}
assert "bss-multimodal" in installed and not installed & {"torchvision", "scipy", "pandas", "transformers"}, installed

began = time.perf_counter()
bss = importlib.import_module("bss")
imported = time.perf_counter() - began
assert Path(bss.__file__).is_relative_to(sys.prefix), bss.__file__
assert importlib.metadata.version("bss-multimodal") == bss.__version__
assert (Path(bss.__file__).parent / "py.typed").exists()

loop, curriculum = re.findall(r"```python\n(.*?)```", Path(readme).read_text(encoding="utf-8"), flags=re.DOTALL)
began = time.perf_counter()
exec(compile(f"{loop}\n{curriculum}", "README.md", "exec"), {"__name__": "__main__"})
print(f"README's loops ran in {time.perf_counter() - began:.1f} s; import bss took {imported:.3f} s")

for arguments, told in (["--help"], "doctor"), (["prepare", "--help"], "--source"):
    assert told in subprocess.run([command, *arguments], capture_output=True, text=True, check=True).stdout
commands = [
    "train cremad --arm spl --sample",
    "compare ks --sample --out compared",
    "prepare cremad --source . --out made",
]
for arguments in commands:
    said = subprocess.run([command, *arguments.split()], capture_output=True, text=True)
    assert said.returncode == 2 and "bss-multimodal[train" in said.stderr and said.stderr.count("\n") == 1, said
    print(said.stderr, end="")
