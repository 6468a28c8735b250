"""The pages for people: the files of `web/`, sent as they are, to browsers that may load nothing else for them.

They hold nothing secret and need no key; what their scripts ask for does.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from service.answers.explanation import MEANINGS
from service.answers.highlights import STRONG, WEAK
from service.pages.fragment import CAVEAT, STEPS, style
from service.server.problems import Problem

FOLDER = Path(__file__).parent / "web"

PAGES = {"/": "index.html", "/docs": "docs.html"}
"""The addresses of whole pages; the other files stand below `/page/`."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # No text becomes markup: a script that tries is stopped.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # A browser asks each time whether its copy is still right: files of two versions never meet.
    "Cache-Control": "no-cache",
}

_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
}


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent."""

    body: bytes
    media_type: str
    tag: str
    """The value of its header `ETag`. It is weak: packed or not, the file is the same."""

    @classmethod
    def of(cls, name: str, body: bytes) -> Self:
        """The file of this name with this content."""
        return cls(body, _MEDIA_TYPES[Path(name).suffix], f'W/"{sha256(body).hexdigest()[:32]}"')

    def answer(self, request: Request) -> Response:
        """The file, or 304 where the caller has it already."""
        headers = {**HEADERS, "ETag": self.tag}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type=self.media_type)


def read_files() -> dict[str, PageFile]:
    """Every file by its address."""
    found = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}
    # What is said and drawn alike in notebooks and reports.
    found["fragment.css"] = style().encode()
    found["wording.json"] = json.dumps(
        {"meanings": dict(MEANINGS), "caveat": CAVEAT, "steps": STEPS, "weak": WEAK, "strong": STRONG}
    ).encode()
    whole = {name: address for address, name in PAGES.items()}
    return {whole.get(name, f"/page/{name}"): PageFile.of(name, body) for name, body in found.items()}


def page_routes(files: dict[str, PageFile]) -> list[Route]:
    """The addresses of the files."""

    async def show(request: Request) -> Response:
        if request.scope.get("raw_path", b"").endswith(b"/") and request.scope["path"] != "/":
            # The gateway drops a last slash, but a browser would look for the other files below it.
            return RedirectResponse(f"..{request.scope['path']}")
        try:
            file = files[request.scope["path"]]
        except KeyError:
            raise Problem("not_found", "no file of the pages is at this address") from None
        return file.answer(request)

    return [*(Route(address, show) for address in PAGES), Route("/page/{name}", show)]
