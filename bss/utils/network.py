"""Whether an address on the network can be reached, asked before a library waits for it again and again."""

import functools
import queue
import ssl
import threading
import urllib.error
import urllib.request

from bss.utils.errors import first_line

SECONDS = 3.0
"""How long an answer is waited for."""


@functools.cache
def silence(url: str) -> str:
    """Why no answer comes from an address, in a few words; empty where one comes, be it a refusal.

    It goes by the proxies of the environment, as the libraries do, and is asked once in a process. What they may know
    better, a certificate, counts as an answer.

    Args:
        url: whose host is asked.
    """
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    # In a thread: a name server that is silent would be waited for much longer than any connection.
    threading.Thread(target=lambda: answers.put(_asked(url)), daemon=True).start()
    try:
        return answers.get(timeout=SECONDS)
    except queue.Empty:
        return f"no answer within {SECONDS:g} s"


def _asked(url: str) -> str:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS).close()
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as error:  # ValueError: no address at all
        reason = getattr(error, "reason", error)
        return "" if isinstance(reason, ssl.SSLError) else first_line(reason)
    return ""
