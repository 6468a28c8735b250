#!/bin/sh
# huggingface_hub 0.36.2: the asynchronous client hides the server's reason, and its error is of another library.
#
# Guess: AsyncInferenceClient is InferenceClient with `await`, made from it method by method, so that both raise the same error
# with the same text, and `except HfHubHTTPError` is right for both.
#
# Seen: for the same answer of status 422, the synchronous error ends with the reason that the server gave. The asynchronous
# one is aiohttp's ClientResponseError, no kin of HfHubHTTPError, and its text has status, phrase and address only. The
# reason has been read: it lies in an attribute, `response_error_payload`, that is no part of aiohttp's class, and neither
# the text nor a traceback shows it. In 2.4.0 both raise HfHubHTTPError with the reason.
#
# Whom it hurts: who calls a text-generation, embeddings or classification server from asynchronous code on the 0.x line, which
# transformers 4 asks for. Logs show "Unprocessable Entity" where the server said how many tokens were too many, and a handler
# that was tested with the synchronous client lets the error through. Catch both, and read the attribute.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
cat > "$folder/try.py" <<'PYTHON'
import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from huggingface_hub import AsyncInferenceClient, InferenceClient, __version__
from huggingface_hub.errors import HfHubHTTPError

REASON = "the text has 900 tokens, 512 are accepted"


class Refuse(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"error": REASON}).encode()
        self.send_response(422)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def seen(kind, error):
    print(f"huggingface_hub {__version__}, {kind}: {type(error).__module__}.{type(error).__name__}: {str(error)!r}")
    return isinstance(error, HfHubHTTPError), REASON in str(error), getattr(error, "response_error_payload", None)


async def ask(address):
    try:
        await AsyncInferenceClient(address).text_classification("a long text")
    except Exception as error:
        return seen("asynchronous", error)


server = HTTPServer(("127.0.0.1", 0), Refuse)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}/"
try:
    InferenceClient(address).text_classification("a long text")
except Exception as error:
    assert seen("synchronous", error)[:2] == (True, True)
told = sys.argv[1] == "told"
assert asyncio.run(ask(address)) == (told, told, None if told else {"error": REASON})
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q huggingface_hub==0.36.2 aiohttp==3.14.5
"$folder/venv/bin/python" "$folder/try.py" lost
"$folder/venv/bin/python" -m pip install -q huggingface_hub==2.4.0
"$folder/venv/bin/python" "$folder/try.py" told
