"""Saved searches on the pages, without JavaScript: saved, opened, renamed, shared, deleted."""
import html
import json
import re
from urllib.parse import quote

import people
import pytest
import seed_fleet
from hub_server import Hub
from people import bearer

QUERY = 'timeout "payment failed" -health ctx.a=1&b=2'


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    people.fill(database)
    people.fill_with_tokens(database)
    seed_fleet.seed(database, lines=200)
    yield database
    database.close()


@pytest.fixture(scope="module")
def hub(fleet, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("hub"), "fastcgi").start()
    yield server
    server.stop()


@pytest.fixture
def visit(visit, fleet):
    """The same, and nobody has saved a search."""
    fleet.query("TRUNCATE saved_searches")
    return visit


def links(page):
    """{name: address} of the menu or the list."""
    return {html.unescape(name): html.unescape(address) for address, name in
            re.findall(r'<a href="(/logs\?q=[^"]*)">([^<]*)</a>', page.text)}


def form(page, action):
    """The fields of the form with that action."""
    found = re.search(rf'<form [^>]*action="{action}"[^>]*>(.*?)</form>', page.text, re.S)
    return {name: html.unescape(value) for name, value in
            re.findall(r'<input type="(?:hidden|text)" name="(\w+)" value="([^"]*)"', found[1])}


def save(visitor, name, **query):
    page = visitor.ask("/logs?" + "&".join(f"{k}={quote(v)}" for k, v in query.items()))
    return visitor.post("/logs/saved", **{**form(page, "/logs/saved"), "name": name})


def test_a_search_is_saved_as_it_is_and_opened_from_the_menu(visit):
    visitor = visit("viewer")
    wanted = {"q": QUERY, "range": "24h", "columns": "time,level,ctx.status", "wrap": "no"}
    done = save(visitor, "Payments & <co>", **wanted)
    assert done.status == 303 and done.headers["Location"].startswith("/logs?q=timeout")
    page = visitor.get("/logs")
    address = links(page)["Payments & <co>"]
    opened = form(visitor.get(address), "/logs/saved")
    assert {name: value for name, value in opened.items() if name in wanted} == wanted
    save(visitor, "that hour", q="x", **{"from": "2026-01-02T03:00:00Z", "to": "2026-01-02T04:00:00Z"})
    opened = form(visitor.get(links(visitor.get("/logs"))["that hour"]), "/logs/saved")
    assert (opened["from"], opened["to"]) == ("2026-01-02T03:00:00Z", "2026-01-02T04:00:00Z")
    assert (opened["range"], opened["columns"]) == ("", ""), "what it was saved without"


def test_it_is_renamed_shared_and_deleted_on_its_page(visit):
    ann, bob = visit("viewer"), visit("operator")
    assert "No search is saved yet" in ann.get("/logs/saved").text
    save(ann, "first", q="error")
    page = ann.get("/logs/saved")
    change = re.search(r"/logs/saved/[\w-]+/change", page.text)[0]
    assert not links(bob.get("/logs")), "nobody else sees it"
    done = ann.post(change, name="for all", shared="true", back="/logs/saved")
    assert done.status == 303 and done.headers["Location"] == "/logs/saved"
    assert list(links(ann.get("/logs"))) == list(links(bob.get("/logs"))) == ["for all"]
    page = bob.get("/logs/saved")
    assert "viewer@example.com" in page.text and "/change" not in page.text, "another's is not changed"
    assert bob.post(change, name="mine").status == 403
    assert "by viewer@example.com" in bob.get("/logs").text
    assert ann.post(change.replace("/change", "/delete")).status == 303
    assert not links(ann.get("/logs")) and not links(bob.get("/logs"))
    assert ann.post(change.replace("/change", "/delete")).status == 404


def test_a_name_that_is_taken_is_said(visit):
    visitor = visit("viewer")
    save(visitor, "twice")
    again = save(visitor, "twice")
    assert again.status == 422 and "name" in again.text and "another of your searches" in again.text


def test_a_form_of_another_site_saves_nothing(visit, fleet):
    visitor = visit("viewer")
    visitor.csrf = "wrong"
    assert visitor.post("/logs/saved", name="x").status == 403
    assert fleet.count("saved_searches") == 0


def test_without_sign_in_there_are_no_saved_searches(visit, hub):
    save(visit("viewer"), "shared", q="error")
    page = hub.get("/logs")
    assert page.status == 200 and not links(page) and "/logs/saved" not in page.text
    assert hub.get("/logs/saved").status == 401 and hub.get("/api/v1/searches").status == 401


def test_programs_save_list_change_and_delete(visit, hub, fleet):
    visit("viewer")
    as_viewer = {**bearer("t_viewer"), "Content-Type": "application/json"}

    def ask(method, path, body=None):
        return hub.get("/api/v1/searches" + path, method, as_viewer, body and json.dumps(body))
    made = ask("POST", "", {"name": "api", "q": QUERY})
    assert made.status == 201 and made.json["q"] == QUERY and made.json["range"] is None
    path = "/" + made.json["search_id"]
    assert ask("GET", "").json["items"] == [made.json] and ask("GET", path).json == made.json
    assert ask("PATCH", path, {"q": None, "range": "7d"}).json["range"] == "7d"
    wrong = ask("PATCH", path, {"range": "2y", "columns": 5})
    assert wrong.status == 422 and [e["field"] for e in wrong.json["errors"]] == ["columns", "range"]
    assert ask("DELETE", path).status == 204 and ask("DELETE", path).status == 404
