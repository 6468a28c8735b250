#!/bin/sh
# h2 4.3.0: a server that announces its end by GOAWAY can no longer answer the requests that it has promised to answer.
#
# Guess: `close_connection(last_stream_id=1)` sends GOAWAY and keeps stream 1 open. This is what the argument is for: RFC 9113,
# section 6.8, lets streams up to that number finish, which is how a server goes away without losing requests.
#
# Seen: the frame goes out with the right number, and at once the connection is closed on the sender's side. Headers of the
# answer, and data of an answer that has begun, raise ProtocolError. The client's side is no better: once an h2 client has
# read GOAWAY, the headers of the answer that the frame allows for raise ProtocolError too, whoever the server is.
# A frame of the same bytes that the server writes itself, past h2, leaves its own side able to answer.
#
# Whom it hurts: who drains a server on a rolling update (each connection loses what is in flight, although the code reads as
# a graceful end), and clients on h2 behind a proxy that drains as the RFC says. Finish all streams before `close_connection`, or
# write the GOAWAY frame with hyperframe. On the client's side, only a second try of safe requests helps.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -q h2==4.3.0 hyperframe==6.1.0 hpack==4.1.0
"$folder/venv/bin/python" - <<'PYTHON'
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated
from h2.exceptions import ProtocolError
from hyperframe.frame import GoAwayFrame

REQUEST = [(":method", "GET"), (":scheme", "http"), (":authority", "here"), (":path", "/")]
ANSWER = [(":status", "200")]


def connect():
    """A client and a server of which the client has asked for one thing, on stream 1."""
    client, server = (H2Connection(H2Configuration(client_side=side)) for side in (True, False))
    client.initiate_connection()
    server.initiate_connection()
    client.send_headers(1, REQUEST, end_stream=True)
    server.receive_data(client.data_to_send())
    client.receive_data(server.data_to_send())
    return client, server


def outcome(step):
    try:
        step()
    except ProtocolError as error:
        return f"ProtocolError: {error}"
    return "done"


client, server = connect()
server.close_connection(last_stream_id=1)
(event,) = client.receive_data(server.data_to_send())
assert isinstance(event, ConnectionTerminated) and (event.error_code, event.last_stream_id) == (0, 1)
headers = outcome(lambda: server.send_headers(1, ANSWER, end_stream=True))

client, server = connect()
server.send_headers(1, ANSWER)
server.close_connection(last_stream_id=1)
data = outcome(lambda: server.send_data(1, b"rest", end_stream=True))

client, server = connect()
goaway = GoAwayFrame(stream_id=0, last_stream_id=1).serialize()
own = outcome(lambda: server.send_headers(1, ANSWER, end_stream=True))
reading = outcome(lambda: client.receive_data(goaway + server.data_to_send()))

print("server, headers after close_connection:", headers)
print("server, data after close_connection:", data)
print("server, headers after a GOAWAY of its own:", own)
print("client, reading headers of stream 1 after GOAWAY up to 1:", reading)
assert headers.startswith("ProtocolError") and data.startswith("ProtocolError")
assert own == "done"
assert reading.startswith("ProtocolError")
PYTHON
