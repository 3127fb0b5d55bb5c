"""What a request brings with it, through a real web server: the hub as CGI and as FastCGI under lighttpd,
with a route that takes bodies (posting_routes.c; the hub itself has none yet)."""
import http.client

import pytest
from harness import BUILD
from hub_server import Hub

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


@pytest.fixture(scope="module", params=["cgi", "fastcgi"])
def post(request, tmp_path_factory):
    """post(body, type, method="POST", **headers) -> (status, text)."""
    hub = Hub(tmp_path_factory.mktemp(request.param), "", request.param,
              program=BUILD / "tests/posting_hub").start()

    def go(body, media, method="POST", **headers):
        answer = hub.get("/post", method, {"Content-Type": media, **headers}, body)
        return answer.status, answer.text
    go.hub = hub
    yield go
    hub.stop()


def test_a_body_arrives_whole(post):
    text = '{"name":"é ü","n":1}'
    assert post(text.encode(), JSON) == (200, f"{len(text.encode())} bytes of {JSON}: {text}")
    assert post(b"x" * 1000, JSON)[0] == 200
    assert post(b"", JSON) == (200, f"0 bytes of {JSON}: ")
    assert post(text.encode(), JSON + "; charset=utf-8", "PUT")[0] == 200


def test_the_fields_of_a_form_are_parameters(post):
    body = b"name=a+b%26c&n=%C3%A9"
    assert post(body, FORM) == (200, f"{len(body)} bytes of {FORM}, name is a b&c, n is é: {body.decode()}")


def test_a_body_in_chunks_arrives_whole(post):
    """Its length is not known before; the web server collects it."""
    status, text = post([b"[1,", b"2,3", b"]"], JSON)
    assert (status, text) == (200, f"7 bytes of {JSON}: [1,2,3]")


@pytest.mark.parametrize("body, media, headers, status", [
    (b"x" * 1001, JSON, {}, 413),
    ([b"x" * 600, b"x" * 600], JSON, {}, 413),
    (b"x" * 100_000, JSON, {}, 413),
    (b"<a/>", "text/xml", {}, 415),
    (b"[]", "", {}, 415),
    (b"[]", JSON, {"Content-Encoding": "gzip"}, 415),
    (b"\xff", JSON, {}, 400),
    (b"a\0b", JSON, {}, 400),
], ids=["too long", "too long in chunks", "beyond the server's limit", "another type", "no type",
        "compressed", "no UTF-8", "a NUL"])
def test_what_a_route_does_not_take_is_refused(post, body, media, headers, status):
    got, text = post(body, media, **headers)
    assert got == status, text
    assert post(b"[]", JSON)[0] == 200, "the next request finds the hub as it was"


def test_a_post_without_a_length_is_refused(post):
    connection = http.client.HTTPConnection("127.0.0.1", post.hub.port, timeout=30)
    connection.putrequest("POST", "/post", skip_accept_encoding=True)
    connection.endheaders()
    assert connection.getresponse().status == 411
    connection.close()


def test_another_method_is_told_which_are_taken(post):
    answer = post.hub.get("/post")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST, PUT")
