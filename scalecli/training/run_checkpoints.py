"""A run's checkpoints: resumes from the newest intact one, skipping damaged ones; saves new ones in the background.

A checkpoint is trusted once a finite loss has been computed from its weights, or the run is complete. Older ones are
removed only then: whenever a run diverges, the last one that it can be taken up from is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scalecli.errors import MissingError
from scalecli.manifest import Checkpoints, Manifest
from scalecli.storage.layout import CHECKPOINTS, OPTIMIZER, WEIGHTS
from scalecli.storage.run_storage import RunStorage
from scalecli.training import checkpoints
from scalecli.training.background import Background
from scalecli.training.checkpoints import Saving


class RunCheckpoints:
    """The checkpoints of a run, seen from the process that writes them."""

    def __init__(self, storage: RunStorage, saving: Saving) -> None:
        self.folder = storage.directory / CHECKPOINTS
        self._storage, self._saving = storage, saving
        self._background = Background()
        self._untrusted: int | None = None  # the newest checkpoint's step, until it is trusted

    def restore(self, weights: Mapping[str, Any], state: Mapping[str, Any], message: Callable[[str], None]) -> int:
        """Gives Keras variables by path the values of the newest checkpoint that is whole; returns its step, or 0.

        Raises:
            MissingError: there are checkpoints, and all are damaged.
            ConfigurationError: they are of another model.
            ScalecliError: they can't be fetched.
        """
        steps = checkpoints.checkpoint_steps(self.folder)
        for step in reversed(steps):
            source = self.folder / f"{step:08d}"
            self._storage.fetch(source / WEIGHTS, source / OPTIMIZER)
            try:
                load_checkpoint(source, weights, state)
            except MissingError as error:
                message(f"{error}; trying the checkpoint before it")
                continue
            self._untrusted = step
            return step
        if steps:
            folder = f"{self._storage.address}/{CHECKPOINTS}"
            raise MissingError(f"{folder}: no checkpoint can be read; remove the folder to start anew")
        return 0

    def save(
        self, step: int, weights: Mapping[str, np.ndarray], state: Mapping[str, np.ndarray], manifest: Manifest
    ) -> None:
        """Writes and stores a checkpoint while training goes on; waits for, and raises the error of, the one before."""

        def work() -> None:
            checkpoints.save_checkpoint(self.folder, step, weights, state, manifest.architecture, manifest.shape)
            self._storage.store_checkpoint(step)

        self._background.start(work)
        self._untrusted = step

    def finish(self) -> Checkpoints | None:
        """Waits for the checkpoint that is being written; what the manifest is to say, if there is anything new.

        Raises:
            ScalecliError: it could not be written.
        """
        self._background.wait()
        return None if self._untrusted is None else self._entry(self.steps_before(self._untrusted + 1))

    def trust(self, best: int | None) -> Checkpoints | None:
        """Removes old checkpoints, now that the newest is trusted, but for the best step's.

        Returns what the manifest is to say; None where all is done already, or the newest is still being written.

        Raises:
            ScalecliError: it could not be written.
        """
        self._background.check()
        if self._untrusted is None or self._background.is_busy:
            return None
        others = self._saving.named if best is None else (*self._saving.named, best)
        before = self.steps_before(self._untrusted)
        stay = checkpoints.remove_old_checkpoints(self.folder, self._untrusted, self._saving.keep, others)
        self._untrusted = None
        if removed := {*before} - {*stay}:
            self._background.start(lambda: self._storage.remove_checkpoints(removed))
        return self._entry(stay)

    def steps_before(self, step: int) -> list[int]:
        """The steps before that one which have a checkpoint."""
        return [earlier for earlier in checkpoints.checkpoint_steps(self.folder) if earlier < step]

    def _entry(self, steps: list[int]) -> Checkpoints:
        return Checkpoints(
            directory=CHECKPOINTS, kept=steps, named=[step for step in steps if step in self._saving.named]
        )


def load_checkpoint(checkpoint: Path, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Gives Keras variables by path the values of a checkpoint, all or none.

    Raises:
        MissingError: it is damaged, or lacks the optimizer's state.
        ConfigurationError: it is of another model.
    """
    arrays = checkpoints.load_both(checkpoint)
    for variables, values in zip((weights, state), arrays, strict=True):
        checkpoints.assign(variables, values, str(checkpoint))
