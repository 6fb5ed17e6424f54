"""One of several processes that `conftest.launch` starts: `worker.py FOLDER MODE NAME...`."""

import os
import sys
import traceback
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))
import scenarios  # first: it sets what must be set before torch is imported
import torch


def main(folder: Path, mode: str, names: list[str]) -> None:
    if mode == "fsdp":
        import fsdp_on_cpu

        fsdp_on_cpu.enable()
    if mode == "gpu":
        scenarios.SHARED["use_cpu"] = False
    for name in names:
        if name == "components":
            import components

            result = components.run(folder)
        else:
            result = scenarios.run(name, folder / name)
        if int(os.environ["RANK"]) == 0:
            torch.save(result, folder / f"{name}.pt")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # the other process waits in a collective: torchrun ends it
