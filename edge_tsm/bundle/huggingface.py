"""The Hugging Face Hub as a store of models; needs huggingface_hub.

Its address (HF_ENDPOINT) and token (HF_TOKEN, or what `hf auth login` keeps) are the library's own
affair: nothing here reads, takes or shows a token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.errors import HTTPError as AnyHTTPError  # type: ignore[attr-defined]
from huggingface_hub.utils.tqdm import disable_progress_bars

from edge_tsm.bundle.addresses import Address, Listing
from edge_tsm.errors import HubError

TIMEOUT_S = 20.0
_LOG_IN = "log in by `hf auth login`, or set HF_TOKEN"
# The first kind that an error is of says what to do.
_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (GatedRepoError, f"its owner lets in those who asked only; ask on its page, then {_LOG_IN}"),
    (RepositoryNotFoundError, f"there is no such model, or it is private: {_LOG_IN}"),
    (RevisionNotFoundError, "the model has no such revision"),
    (EntryNotFoundError, "a file is not there"),
)


class HuggingFace:
    """See `edge_tsm.bundle.addresses.Store`; without an `endpoint` it is HF_ENDPOINT's."""

    def __init__(self, endpoint: str | None = None) -> None:
        disable_progress_bars()  # they would write to the terminal as they like
        self._api = HfApi(endpoint=endpoint)

    def listing(self, address: Address) -> Listing:
        """Return what is there now."""
        with _translated(address):
            found = self._api.model_info(
                address.name, revision=address.revision, files_metadata=True, timeout=TIMEOUT_S
            )
        files = {file.rfilename: file.size for file in found.siblings or ()}
        return Listing(str(found.sha), {n: s for n, s in files.items() if type(s) is int})

    def download(self, address: Address, commit: str, file: str, folder: Path) -> None:
        """Write one file of a commit into a folder."""
        with _translated(address):
            self._api.hf_hub_download(address.name, file, revision=commit, local_dir=folder)

    def upload(self, address: Address, files: Mapping[str, Path], *, private: bool) -> str:
        """Make the model if it is not there, and keep files in one commit."""
        added = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        with _translated(address):
            self._api.create_repo(address.name, private=private or None, exist_ok=True)
            if address.revision:
                self._api.create_branch(address.name, branch=address.revision, exist_ok=True)
            done = self._api.create_commit(
                address.name,
                added,
                commit_message="Bundle of edge-tsm",
                revision=address.revision,
            )
        return str(done.commit_url)


@contextmanager
def _translated(address: Address) -> Iterator[None]:
    """Turn what the library raises into one line."""
    try:
        yield
    except (AnyHTTPError, OSError, ValueError) as error:
        reason = next((text for kind, text in _REASONS if isinstance(error, kind)), None)
        status = getattr(getattr(error, "response", None), "status_code", None)
        if reason is None and status in (401, 403):
            reason = f"it is not allowed: {_LOG_IN}, with the right to write where you push"
        unreachable = not isinstance(error, HfHubHTTPError | ValueError) or (status or 0) >= 500
        text = reason or " ".join(str(error).split())[:200] or type(error).__name__
        unreachable = unreachable and reason is None
        way_out = "; is there a network? HF_ENDPOINT names another hub" if unreachable else ""
        raise HubError(f"{address}: {text}{way_out}", unreachable=unreachable) from error
