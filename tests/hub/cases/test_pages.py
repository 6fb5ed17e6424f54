"""The blocks of docs/push.md and docs/use_adapters.md against the local Hub, with a tiny base and few rounds."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import local_hub
import pytest
from tiny import tiny_model, tiny_tokenizer

from trl_copd import CoPDConfig


ROOT = Path(__file__).parents[3]
TOKEN = "hf_meMEmeMEmeMEmeMEmeME04"
BLOCK = re.compile(r"<!-- test: skip run against a local Hub.*?-->\n```(\w+)\n(.*?)```", re.DOTALL)
SMALL = {"max_steps": 2, "rlvr_steps": 1, "opd_steps": 1, "save_steps": 1, "max_completion_length": 8} | {
    "use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}  # fmt: skip


@pytest.mark.slow
def test_pages(hub, tmp_path, proved, monkeypatch):
    monkeypatch.setitem(local_hub.TOKENS, TOKEN, ("me", "write"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    init = CoPDConfig.__init__
    monkeypatch.setattr(CoPDConfig, "__init__", lambda self, *args, **kwargs: init(self, *args, **{**kwargs, **SMALL}))
    for name in ("words", "codes"):
        rows = [{"prompt": f"Spell {i}:", "solution": chr(97 + i % 8)} for i in range(100)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_model().save_pretrained("base")
    tiny_tokenizer().save_pretrained("base")
    base = hub.repos["Qwen/Qwen3-0.6B"] = local_hub.Repo(private=False)
    base.add("main", "initial commit", {path.name: path.read_bytes() for path in Path("base").iterdir()})

    count = 0
    for page in ("push.md", "use_adapters.md"):
        namespace: dict = {}
        for language, text in BLOCK.findall((ROOT / "docs" / page).read_text()):
            count += 1
            if language == "bash":
                run = subprocess.run(["bash", "-euc", text], capture_output=True, text=True)
                assert run.returncode == 0, run.stdout + run.stderr
                assert (
                    "trl_copd.export" not in text
                    or "96 of 96 greedy tokens (4 prompts) equal the adapter's; saved in merged\n" in run.stdout
                )
            else:
                exec(compile(text, page, "exec"), namespace)
        if page == "push.md":
            assert hub.repo("me/words-and-codes").private
            assert "experts/codes/adapter_model.safetensors" in hub.repo("me/words-and-codes").files()
    assert count == 6 and namespace["out"].size(0) == 2 and Path("merged-words/model.safetensors").is_file()
    proved(f"{count} blocks of docs/push.md and docs/use_adapters.md run as they stand")
