"""What does not answer is known in seconds, and any answer counts as one."""

import http.server
import socket
import threading
import time

import pytest

from bss.utils import network


@pytest.fixture
def silence(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    network.silence.cache_clear()
    yield network.silence
    network.silence.cache_clear()


def test_a_port_where_nobody_listens_is_silent_with_the_reason(silence):
    with socket.socket() as taken:  # for as long as it is asked, so that no other test listens there
        taken.bind(("127.0.0.1", 0))
        assert "refused" in silence(f"http://127.0.0.1:{taken.getsockname()[1]}")


def test_a_host_that_takes_the_connection_and_says_nothing_is_given_up(silence, monkeypatch):
    monkeypatch.setattr(network, "SECONDS", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        began = time.monotonic()
        assert silence(f"http://127.0.0.1:{mute.getsockname()[1]}")
        assert time.monotonic() - began < 2


def test_a_refusal_is_an_answer(silence):
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(401)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert silence(f"http://127.0.0.1:{server.server_port}") == ""
        server.shutdown()
