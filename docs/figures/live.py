"""
Makes docs/figures/live.png: the live view of a run that has left a trainer_state.json, as it stood at a round.

    python docs/figures/live.py OUTPUT_DIR ROUND

Needs rich, and Debian's chromium, which turns rich's SVG into a PNG.
"""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image
from rich.console import Console

from trl_copd.schedule import Schedule
from trl_copd.show.frame import RunView, frame
from trl_copd.topology import build_topology


WIDTH, HEIGHT = 100, 30

folder, at = Path(sys.argv[1]), int(sys.argv[2])
run = json.loads((folder / "copd.json").read_text())
state = json.loads((folder / "trainer_state.json").read_text())
schedule = Schedule(run["rlvr_steps"], run["opd_steps"], static=run["topology"] == "mopd")
view = RunView(build_topology(run["topology"], tuple(run["experts"]), run.get("hub")), schedule, state["max_steps"])
for entry in state["log_history"]:
    if entry["step"] <= at:
        view.update(entry, entry["step"])
seconds = next(entry["train_runtime"] for entry in state["log_history"] if "train_runtime" in entry)
console = Console(width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True, record=True)
console.print(frame(view, WIDTH, HEIGHT, seconds * at / state["max_steps"]))
svg, png = folder / "live.svg", Path(__file__).with_suffix(".png")
console.save_svg(str(svg), title="recipes/copd.py")
width, height = (round(float(n)) for n in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text()).groups())
page = folder / "live.html"
page.write_text(f'<body style="margin:0"><img src="live.svg" width="{width}" height="{height}"></body>')
subprocess.run(
    ["chromium", "--no-sandbox", "--headless=new", "--hide-scrollbars", "--default-background-color=00000000",
     f"--window-size={width},{height}", f"--screenshot={png.resolve()}", f"file://{page.resolve()}"],
    check=True, capture_output=True,
)  # fmt: skip
Image.open(png).quantize(64).save(png, optimize=True)
