import json
import urllib.error
import urllib.request

import pytest

from packages.local_aws.src.http_routes import JsonServer, Problem, Routes


@pytest.fixture
def server():
    routes = Routes({"X-Version": "1"})
    routes.add("GET", "/a/{name}", lambda r: {"name": r.at["name"], "q": dict(r.query)})
    routes.add("POST", "/a/{name}", lambda r: r.body)

    def refuse(request):
        raise Problem(409, "exists")

    routes.add("GET", "/refused", refuse)
    running = JsonServer(routes, port=0)
    yield running
    running.stop()


def call(server, path, body=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(server.url + path, data=body) as answer:
        return json.load(answer), answer.headers


def refused(server, path, body=None):
    with pytest.raises(urllib.error.HTTPError) as caught:
        call(server, path, body)
    with caught.value as error:
        return error.code, json.load(error)["message"]


def test_it_listens_on_this_machine_only(server):
    assert server.url.startswith("http://127.0.0.1:")


def test_parts_of_the_path_and_the_query_reach_the_handler(server):
    answer, headers = call(server, "/a/b?x=1")

    assert answer == {"name": "b", "q": {"x": "1"}}
    assert headers["X-Version"] == "1"


def test_a_body_comes_and_goes_as_json(server):
    assert call(server, "/a/b", b'["x"]')[0] == ["x"]


def test_what_is_wrong_is_a_status_and_a_message(server):
    assert refused(server, "/refused") == (409, "exists")
    assert refused(server, "/a/b/c") == (404, "nothing answers GET /a/b/c")
    assert refused(server, "/a/b", b"{")[0] == 400
