"""Pushing to the Hub: student, experts, card and figures, from a copy that training does not write to."""

import copy
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from accelerate.logging import get_logger
from huggingface_hub import CommitInfo, HfApi, constants, get_token
from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy
from transformers.utils import ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME

from .. import __version__
from ..config import CoPDConfig
from ..redaction import redact, secrets_of
from .folder import EXPERTS, FIGURES, RUN_FILE, STAGING


logger = get_logger(__name__)

NOT_PUSHED = ["_*", f"{PREFIX_CHECKPOINT_DIR}-*"]  # of `output_dir`, as in transformers
WAITS = (10, 60)  # seconds before the second and third attempt; within each, huggingface_hub retries requests itself
PATIENCE = 3600  # seconds that the end of training waits for an upload
WORTH_RETRYING = (408, 409, 412, 425, 429)  # of the 4xx answers


def check_hub(args: CoPDConfig) -> None:
    """
    Refuse a push that cannot succeed, before the model is loaded.

    Raises:
        ValueError: Offline mode, no token, or a repo name that the Hub does not allow.
    """
    if not args.push_to_hub or args.process_index > 0:
        return
    if constants.is_offline_mode():
        raise ValueError("push_to_hub=True, but HF_HUB_OFFLINE=1 forbids every request. Unset one of them.")
    name = args.hub_model_id or Path(args.output_dir).absolute().name
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"{name!r} cannot be a repo on the Hub: {error} Set `hub_model_id`.") from error
    if args.hub_token is None and get_token() is None:
        raise ValueError(
            "push_to_hub=True, but there is no token. Log in with `hf auth login`, or set the environment variable "
            "HF_TOKEN, to a token with write permission."
        )


class Hub:
    """
    Pushes a run: when the user asks, and while it trains. transformers pushes one adapter, from files that training
    goes on writing to, and does not look whether it arrived.

    Args:
        args ([`CoPDConfig`]): The repo, and what is pushed to it when.
        create (`Callable`): transformers' `init_hf_repo`: creates the repo and returns its id.
        on_push (`Callable`): Tells the callbacks that a push begins.
        complete (`Callable`): Writes into a copy of `output_dir` what belongs to the weights of a round.
    """

    def __init__(
        self,
        args: CoPDConfig,
        create: Callable[[str | None, bool | None], str],
        on_push: Callable[[], None],
        complete: Callable[[Path, int], None],
    ):
        self.args, self.create, self.on_push, self.complete = args, create, on_push, complete
        self.repo_id: str | None = None
        self._pushes: tuple[Future, ...] = ()  # uploads in the background, as far as they are not known to be done
        self._newest: Path | None = None  # the checkpoint that the Hub should hold, and the one that it does
        self._pushed: Path | None = None
        self._prepared: tuple[str | None, ...] = ()  # revisions that can be pushed to: repo and branch exist

    @cached_property
    def _api(self) -> HfApi:
        return HfApi(library_name="trl-copd", library_version=__version__)

    @property
    def repo_name(self) -> str:
        return self.repo_id or self.args.hub_model_id or Path(self.args.output_dir).absolute().name

    # ---- The repo ---------------------------------------------------------------------------------------------------

    def start(self, token: str | None = None, private: bool | None = None) -> None:
        """
        Create the repo when the trainer is built. What the Hub refuses is an error now and not after the first hour;
        a Hub that does not answer is a warning, because it may by then.

        Raises:
            ValueError: The Hub refuses the token or the repo.
        """
        for left in Path(self.args.output_dir).glob(f"{STAGING}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        try:
            self._prepare(token, private, self.args.hub_revision)
        except Exception as error:
            if _is_refused(error):
                raise ValueError(f"The Hub refuses {self.repo_name!r}: {self._explain(error)}") from error
            logger.warning(
                f"{self.repo_name!r} was not created: {self._explain(error)} Training starts; every push tries again."
            )

    def _prepare(self, token: str | None, private: bool | None, revision: str | None) -> None:
        """Create repo and branch, unless they are known to exist."""
        if revision in self._prepared:
            return
        self.repo_id = self.create(token, private)
        if revision is not None and not revision.startswith("refs/"):  # pull requests have their branch already
            token = token or self.args.hub_token
            self._api.create_branch(self.repo_id, branch=revision, token=token, exist_ok=True)
        self._prepared += (revision,)

    # ---- When the user asks -----------------------------------------------------------------------------------------

    def push(
        self,
        message: str | None,
        write_card: Callable[[], None],
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> CommitInfo | Future:
        """
        Push what is in `output_dir`.

        Args:
            message (`str`): Of the commit.
            write_card (`Callable`): Writes the card, once the repo's id is known.
            blocking, token, revision, private (*optional*): As in [`~transformers.Trainer.push_to_hub`].

        Raises:
            RuntimeError: The upload failed, also when tried again; everything is still in `output_dir`.
        """
        folder, revision = Path(self.args.output_dir), revision or self.args.hub_revision
        try:
            self._retrying(lambda: self._prepare(token, private, revision))
            write_card()
            upload = partial(self._upload, folder, message, token, revision, ignore_patterns=NOT_PUSHED)
            return upload() if blocking else self._api.run_as_future(upload)
        except Exception as error:
            branch = f" --revision {revision}" if revision else ""
            raise RuntimeError(
                f"{self.repo_name!r} was not pushed: {self._explain(error)} Nothing is lost: {str(folder)!r} holds "
                f'everything. Call `trainer.push_to_hub()` again, or `hf upload {self.repo_name} "{folder}" . '
                f'--exclude "{NOT_PUSHED[0]}" --exclude "{NOT_PUSHED[1]}"{branch}`.'
            ) from error

    def _upload(
        self, folder: Path, message: str | None, token: str | None, revision: str | None, **patterns
    ) -> CommitInfo:
        """Upload a folder; what is there already is not sent again."""
        return self._retrying(
            lambda: self._api.upload_folder(
                repo_id=self.repo_id,
                folder_path=folder,
                commit_message=message,
                token=token or self.args.hub_token,
                revision=revision,
                **copy.deepcopy(patterns),  # huggingface_hub adds to the list that it is given
            )
        )

    def _retrying(self, attempt: Callable[[], Any]) -> Any:
        for pause in WAITS:
            try:
                return attempt()
            except Exception as error:
                if _is_refused(error):
                    raise
                logger.warning(f"Pushing to {self.repo_name!r}: {self._explain(error)} Trying again in {pause} s.")
                time.sleep(pause)
        return attempt()

    def _explain(self, error: Exception) -> str:
        """What happened and what to do, in one line and without secrets."""
        causes = list(_chain(error))
        cause = next((c for c in causes if _status(c) or not isinstance(c, RuntimeError)), error)
        text = redact(f"{type(cause).__name__}: {' '.join(str(cause).split())}", secrets_of(self.args))[:300]
        advice = {
            401: "Log in with `hf auth login`, or set HF_TOKEN, to a token with write permission.",
            403: "Use a token that may write there, or another repo: `hub_model_id`.",
            404: "Check the repo's name, and that the token may see it.",
        }.get(_status(error), "Check the connection to the Hub and https://status.huggingface.co.")
        return f"{text.rstrip('. ')}. {advice}"

    # ---- While it trains --------------------------------------------------------------------------------------------

    def push_checkpoint(self, checkpoint: Path) -> None:
        """Start to push what the repo should hold after this checkpoint; training goes on, whatever comes of it."""
        if self.args.hub_strategy == HubStrategy.END:
            return
        self._newest = checkpoint
        if self.args.hub_always_push or all(push.done() for push in self._pushes):
            self._start_push(checkpoint)

    def _start_push(self, checkpoint: Path) -> None:
        stage = Path(self.args.output_dir) / f"{STAGING}{checkpoint.name}"
        try:
            self.on_push()
            self._stage(checkpoint, stage)
        except Exception as error:  # a full disk, a tracker that cannot synchronise: no reason to stop training
            logger.warning(f"{checkpoint.name} is not pushed: {redact(repr(error), secrets_of(self.args))}")
            shutil.rmtree(stage, ignore_errors=True)
            return
        push = self._api.run_as_future(self._push_stage, stage, checkpoint)
        self._pushes = (*(old for old in self._pushes if not old.done()), push)

    def _stage(self, checkpoint: Path, stage: Path) -> None:
        """Copy `output_dir`, with the model of the checkpoint and a card and figures that belong to it."""
        output = Path(self.args.output_dir)
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(output, stage, ignore=partial(_not_pushed, output))
        for name in (ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME, TRAINING_ARGS_NAME, TRAINER_STATE_NAME, RUN_FILE):
            shutil.copy2(checkpoint / name, stage / name)
        shutil.copytree(checkpoint / EXPERTS, stage / EXPERTS, dirs_exist_ok=True)
        shutil.rmtree(stage / FIGURES, ignore_errors=True)
        self.complete(stage, int(checkpoint.name.split("-")[-1]))
        if self.args.hub_strategy == HubStrategy.CHECKPOINT:
            shutil.copytree(checkpoint, stage / "last-checkpoint", copy_function=_link)
        elif self.args.hub_strategy == HubStrategy.ALL_CHECKPOINTS:
            shutil.copytree(checkpoint, stage / checkpoint.name, copy_function=_link)

    def _push_stage(self, stage: Path, checkpoint: Path) -> None:
        """In the background thread: push, tell how it went, and clear up."""
        message = f"Training in progress, step {checkpoint.name.split('-')[-1]}"
        try:
            self._retrying(lambda: self._prepare(None, None, self.args.hub_revision))
            self._upload(stage, message, None, self.args.hub_revision)
            self._pushed = checkpoint
        except Exception as error:
            logger.warning(
                f"{checkpoint.name} was not pushed to {self.repo_name!r}: {self._explain(error)} Training continues "
                "and pushes the next checkpoint instead; the last one is tried again at the end."
            )
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def finish(self) -> None:
        """At the end of training, push a last checkpoint that has not arrived."""
        self.wait()
        if self._newest == self._pushed:
            return
        if self._newest.is_dir():  # else rotated away
            self._start_push(self._newest)
            self.wait()
        if self._newest != self._pushed:
            logger.warning(
                f"{self.repo_name!r} lacks {self._newest.name}. When the Hub can be reached again, call "
                "`trainer.push_to_hub()`."
            )

    def wait(self) -> None:
        """Wait for the uploads under way."""
        if wait(self._pushes, timeout=PATIENCE).not_done:
            logger.warning(
                f"An upload to {self.repo_name!r} has not ended in {PATIENCE} s; the run stops waiting for it."
            )


def _not_pushed(output: Path, folder: str, names: list[str]) -> set[str]:
    """What of `output_dir` itself is no part of the repo, for `shutil.copytree`."""
    if Path(folder) != output:
        return set()
    return {name for name in names if name.startswith(("_", f"{PREFIX_CHECKPOINT_DIR}-"))}


def _link(source: str, target: str) -> None:
    """Let the copy outlive the rotation of checkpoints without taking space; they are never written to again."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, down to the first: huggingface_hub wraps those of its upload threads."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error, if there was an answer at all."""
    for cause in _chain(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if status is not None:
            return status
    return None


def _is_refused(error: BaseException) -> bool:
    """Whether trying again is pointless: the Hub has answered that this is not allowed or does not exist."""
    if isinstance(error, OfflineModeIsEnabled | HFValidationError):
        return True
    status = _status(error)
    return status is not None and 400 <= status < 500 and status not in WORTH_RETRYING
