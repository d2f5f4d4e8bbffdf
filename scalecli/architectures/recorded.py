"""What runs remember of a user's architecture: its file's name and hash in the manifest, and a copy beside that."""

from __future__ import annotations

import os
from pathlib import Path

from scalecli.architectures.loading import built, code_of
from scalecli.architectures.lookup import check_knobs, named
from scalecli.architectures.shape import Shape
from scalecli.costs import Batch, flops
from scalecli.errors import ConfigurationError
from scalecli.manifest import ArchitectureFile, Data, Manifest
from scalecli.storage.files import write_atomically
from scalecli.storage.layout import ARCHITECTURE


def architecture_file(name: str) -> ArchitectureFile | None:
    """A manifest's entry for a user's architecture; None for the papers'."""
    if (code := code_of(name)) is None:
        return None
    return ArchitectureFile(name=os.path.basename(code.file), sha256=code.sha256)


def keep_code(name: str, directory: Path) -> None:
    """Copies the file of a user's architecture into a run's directory."""
    if code := code_of(name):
        write_atomically(directory / ARCHITECTURE, code.content)


def shape_of_run(manifest: Manifest, where: str) -> Shape:
    """The shape of a run, whose architecture is known here and has the weights and FLOPs that it had then.

    `where` says in an error which manifest it is.

    Raises:
        ConfigurationError: it is not valid; or its architecture is a user's, whose code no command has named, or
            whose code has changed since.
    """
    recorded = manifest.architecture_file
    try:
        declared = named(manifest.architecture)
    except ConfigurationError as error:
        if recorded is None:
            raise ConfigurationError(f"{where}: {error}") from None
        raise ConfigurationError(
            f"{where}: its architecture {manifest.architecture} is code of a user's, which runs only where a command "
            f"names it: give --arch {recorded.name} (the run's directory holds a copy, {ARCHITECTURE})"
        ) from None
    shape = Shape.from_dict(manifest.shape, f"{where}: shape")
    code = code_of(manifest.architecture)
    if recorded is not None and code is not None and recorded.sha256 != code.sha256:
        try:
            check_knobs(shape, manifest.architecture)
            spec = built(declared, declared.complete(shape))
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {code.address} has changed since: {error}") from None
        then, now = {"parameters": manifest.parameters.total}, {"parameters": spec.parameters()}
        if isinstance(manifest.data, Data) and manifest.kind != "eval":
            batch = Batch(manifest.batch, manifest.data.inputs_length, manifest.data.targets_length)
            then["FLOPs of a forward pass"] = manifest.flops.forward_per_batch
            now["FLOPs of a forward pass"] = sum(flops(spec, batch, "forward").values())
        changes = [f"{then[what]:,} {what} then, {now[what]:,} now" for what in then if then[what] != now[what]]
        if changes:
            raise ConfigurationError(f"{where}: {code.address} has changed since: {'; '.join(changes)}")
    return shape
