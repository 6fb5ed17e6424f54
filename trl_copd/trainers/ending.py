"""How a run ends, and what it says of itself: figures, card, `copd.json`."""

import signal
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer
from trl.trainer.utils import get_config_model_id

from ..adapters import is_multimodal
from ..engines import EngineUnavailable
from ..measure.matrix import matrix_table
from ..run import checkpoints
from ..run.card import Card, weights_round, write_model_card
from ..run.folder import MATRIX_FILE, MATRIX_TABLE
from ..run.resuming import describe_run
from ..run.saver import write_run_file
from ..run.watch import Watch
from ..show.figures import draw_figures
from ..show.samples import draw_samples
from ..show.summary import run_summary
from .calls import end_left_processes
from .faults import RewardError


logger = get_logger(__name__)


@contextmanager
def ending(run: GRPOTrainer) -> Iterator[None]:
    """Whatever ends the run inside: what can be saved is saved, other processes are told, the terminal is put back."""
    with Watch(run.accelerator, agreed=(EngineUnavailable, RewardError)).watching():
        try:
            yield
        except SystemExit:
            end_after_signal(run)
            raise
        except EngineUnavailable as error:
            save_complete_rounds(run, error)
            raise
        finally:
            end_left_processes()
            best = run.state.best_global_step if run.args.load_best_model_at_end else None
            run.progress.close(run.last_matrix, best)


def finish(run: GRPOTrainer) -> None:
    """Measure what was learnt, and describe and draw the run; whatever a verifier raises, it is saved."""
    if run.args.matrix_at_end and run.eval_dataset:
        try:
            matrix = run.capability_matrix()
        except Exception as error:
            if not run.is_fsdp_enabled:  # where saving takes every process, and this one may be alone
                run._save()
                where = repr(run.args.output_dir)
                error.add_note(f"The training was over: student and experts are saved in {where}.")
            raise
        if run.is_world_process_zero() and (run.args.disable_tqdm or not run.progress.shows_matrix):
            print(f"\nCapability matrix, {run.evaluation.title}:\n\n{matrix_table(matrix)}\n")
        if run.is_world_process_zero():
            base = get_config_model_id(run.model.config)
            print(run_summary(matrix, held_out(run), list(run.experts), run.args.output_dir, base) + "\n")
    run.save_state()
    if run.is_world_process_zero():
        write_run_file(run.args.output_dir, description(run))
        draw_figures(run.args.output_dir)
        draw_samples(run.evaluation.answers, run.args.output_dir)
    run.create_model_card()


def end_if_told(run: GRPOTrainer) -> None:
    """
    After the last round: exit by a signal that came since its end, before `finish` takes its time.

    Raises:
        SystemExit: With 128 + the signal's number.
    """
    number = run.interruption.told()
    if number is None:
        return
    saved = save_last_round(run)
    logger.warning(f"{signal.Signals(number).name} received after the last round: exiting. {saved}")
    raise SystemExit(128 + number)


def end_after_signal(run: GRPOTrainer) -> None:
    """Before a signal's exit: tell the callbacks, wait for uploads, raise if nothing was saved."""
    if run.interruption.signal is not None:
        if run.is_in_train:  # transformers has told them otherwise
            run.control = run.callback_handler.on_train_end(run.args, run.state, run.control)
        run.hub.wait()  # an interpreter that ends starts no thread for them
        run.saver.raise_if_unsaved()


def save_complete_rounds(run: GRPOTrainer, error: Exception) -> None:
    """A checkpoint as of the last complete round, if the run is not inside another one; the error says where it is."""
    saved = save_last_round(run)
    if saved:
        error.add_note(saved)
    run.hub.wait()


def save_last_round(run: GRPOTrainer) -> str:
    """Save what the last complete round has left, unless it is; returns where it is, or nothing."""
    step = run.state.global_step
    folder = Path(run.args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{step}"
    complete = run._step == run.round.micro_step(step)  # else gradients would be lost
    last = run.is_in_train or not run.args.load_best_model_at_end  # else the weights are those of the best round
    if not step or not complete or not last:
        return ""
    if checkpoints.defect(folder) is not None:  # not one file's presence: another process may be writing it
        run._save_checkpoint(run.model, trial=None)
    if run.saver.unsaved is not None:
        return ""
    if run.args.save_only_model:
        return f"Student and experts of all rounds up to here are in {str(folder)!r}."
    return f"All rounds up to here are saved: resume from {str(folder)!r}."


def description(run: GRPOTrainer) -> dict[str, Any]:
    """What `copd.json` says of the run as it is now."""
    rounds = run.state.global_step
    if not run.round.is_last(rounds):
        rounds = max(run.state.max_steps, rounds)
    spent = run._step % run.round.micro_steps == 0
    return describe_run(run.args, run.topology, run.schedule, rounds, run.fingerprint, spent, held_out(run))


def held_out(run: GRPOTrainer) -> dict[str, int]:
    """Completions per domain that the capability matrix grades."""
    return {
        domain: len(rows) * (run.args.num_generations_eval or 1)
        for expert in run.experts.values()
        for domain, rows in expert.eval_datasets.items()
        if isinstance(rows, Sized)  # a streamed dataset does not say how long it is
    }


def card(run: GRPOTrainer, name: str | None, dataset_name: Any = None, tags: Any = None) -> Card:
    """What the model card says of the run as it is now."""
    name = name or Path(run.args.output_dir).name
    datasets, own = ([given] if isinstance(given, str) else given or [] for given in (dataset_name, tags))
    return Card(
        name=name,
        base=get_config_model_id(run.model.config),
        repo=run.hub.repo_id or run.args.hub_model_id or name,
        args=run.args,
        topology=run.topology,
        schedule=run.schedule,
        experts=run.experts,
        rewards={expert: run.branches[expert].reward_func_names for expert in run.experts},
        adapter=run.peft_model.peft_config[run.topology.experts[0]],
        state=run.state,
        rollouts=run.round.rollouts,
        training=run.is_in_train,
        round=weights_round(run.state, run.args, run.is_in_train),
        matrix=run.last_matrix,
        matrix_round=run.last_matrix_round,
        sees=is_multimodal(run.model.config),
        tags=(*own, *run._tag_names),
        datasets=tuple(datasets),
    )


def complete_stage(run: GRPOTrainer, stage: Path, step: int) -> None:
    """Write into a copy of `output_dir` what belongs to the weights of round `step`."""
    if run.processing_class is not None:
        run.processing_class.save_pretrained(str(stage))
    if run.last_matrix is None:  # what is there was measured by an earlier run
        for name in (MATRIX_FILE, MATRIX_TABLE):
            (stage / name).unlink(missing_ok=True)
    draw_figures(stage, quiet=True)  # the matrix, for one, comes at the end
    write_model_card(replace(card(run, run.hub.repo_name.split("/")[-1]), round=step), stage)
