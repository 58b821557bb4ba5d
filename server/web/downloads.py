"""Files that visitors may fetch, made when they are asked for, each under a name nobody guesses."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from threading import Lock
from typing import Final

from fastapi import APIRouter, Response

from llmserve_env.errors import LLMServeError

MOST_FILES: Final = 128
TOKEN_BYTES: Final = 16
PATH: Final = "/downloads"


class UnknownDownloadError(LLMServeError):
    """No file has this name, or not any more."""

    http_status = 404
    code = "UNKNOWN_DOWNLOAD"

    def __init__(self) -> None:
        super().__init__("no such file, or it is too old; run the episode again for a new link")


@dataclass(frozen=True, slots=True)
class Download:
    """A file to be: its name, its type, and what makes its text."""

    name: str
    media_type: str
    make: Callable[[], str]


class Downloads:
    """The newest files, the oldest of which are forgotten."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._files: OrderedDict[str, Download] = OrderedDict()
        self._lock = Lock()

    def offer(self, file: Download) -> str:
        """A link to the file, as HTML for a page under /web/."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            self._files[token] = file
            while len(self._files) > MOST_FILES:
                self._files.popitem(last=False)
        name = escape(file.name)
        # Relative, so that it holds behind a proxy that serves the application under a path.
        return f'<a class="download" href="..{PATH}/{token}" download="{name}">{name}</a>'

    def get(self, token: str) -> Download:
        """The file under this name.

        Raises:
            UnknownDownloadError: If there is none.
        """
        with self._lock:
            file = self._files.get(token)
        if file is None:
            raise UnknownDownloadError
        return file


def download_router(downloads: Downloads) -> APIRouter:
    """The route that hands the files out."""
    router = APIRouter()

    @router.get(PATH + "/{token}", include_in_schema=False)
    def download(token: str) -> Response:
        """The file as an attachment."""
        file = downloads.get(token)
        headers = {
            "Content-Disposition": f'attachment; filename="{file.name}"',
            "X-Content-Type-Options": "nosniff",
        }
        return Response(file.make(), media_type=file.media_type, headers=headers)

    return router
