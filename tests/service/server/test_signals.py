"""Workers as the operating system sees them: children of one parent, started as BentoML starts them."""

import subprocess
import sys

from tests.service.conftest import ROOT

PARENT = """
import subprocess, sys

LISTEN = '''
import signal
both = [signal.SIGHUP, signal.SIGTERM]
signal.pthread_sigmask(signal.SIG_BLOCK, both)
print("up", flush=True)
print(signal.sigwait(both).name)
'''

def start(code, *arguments):
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)

def worker(code, number):
    return start(code, "service.app:Steadfast", "--worker-id", number)

listening = [worker(LISTEN, "1"), worker(LISTEN, "2"), start(LISTEN, "another program")]
for process in listening:
    process.stdout.readline()
TELL = "from service.server.signals import notify_other_workers; print(notify_other_workers())"
print(worker(TELL, "3").communicate()[0].strip())
listening[2].terminate()
for process in listening:
    print(process.communicate()[0].strip())
"""


def test_the_other_workers_of_a_server_are_told_and_nobody_else() -> None:
    said = subprocess.run(
        [sys.executable, "-c", PARENT], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said.split() == ["2", "SIGHUP", "SIGHUP", "SIGTERM"]
