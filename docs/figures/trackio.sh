#!/usr/bin/env bash
# Makes docs/figures/trackio.png: the demonstration's first 100 rounds with trackio, then its dashboard in a browser.
# Needs the extras `demo` and `watch` in $BIN, and Debian's chromium. About four minutes on a quiet core.
set -euo pipefail
cd "$(dirname "$0")/../.."
BIN=${BIN:-.venv/bin} RUN=${RUN:-runs/trackio-figure}
export TRACKIO_DIR=$PWD/$RUN/trackio OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

if [ ! -e "$TRACKIO_DIR/copd.db" ]; then
    "$BIN/python" recipes/copd.py --output_dir "$RUN" --max_steps 100 --report_to trackio --project copd --run_name demo \
        --eval_strategy steps --eval_steps 25 --per_device_eval_batch_size 200 --log_completions true "$@"
fi

"$BIN/trackio" show --project copd --no-footer >"$RUN/trackio.log" 2>&1 &
trap 'kill $!' EXIT
until grep -q launched "$RUN/trackio.log"; do sleep 1; done
address=$(grep -o 'http://127.0.0.1:[0-9]*' "$RUN/trackio.log" | head -1)
shown='eval/student|train/(sort|rev)/(reward|entropy|completions/mean_length|grad_norm)$|train/rev->sort/opd'
shown=$("$BIN/python" -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1]))' "$shown")
chromium --no-sandbox --headless=new --hide-scrollbars --window-size=1600,1940 --virtual-time-budget=30000 \
    --screenshot="$PWD/docs/figures/trackio.png" \
    "$address/?project=copd&x_axis=train/global_step&smoothing=3&plots_per_row=4&metric_filter=$shown" 2>"$RUN/chromium.log"
"$BIN/python" - <<'PYTHON'
from PIL import Image  # comes with matplotlib

path = "docs/figures/trackio.png"
Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
PYTHON
