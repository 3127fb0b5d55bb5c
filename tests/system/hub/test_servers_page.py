"""Servers from the page, without JavaScript: create, label, rotate, retire; tokens are shown once."""
import json
import re
import time

import people
import pytest
import seed_fleet
from hub_server import Hub


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    people.fill(database)
    seed_fleet.seed(database, lines=200)
    database.query("UPDATE limit_policy SET burst = 100000")
    yield database
    database.drop()


@pytest.fixture(scope="module")
def hub(fleet, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("hub"), "fastcgi", conf="").start()
    yield server
    server.stop()


def test_a_server_is_created_and_turns_green_with_its_first_post(visit, hub):
    page = visit("operator")
    assert "New servers" not in page.ask("/servers").text
    made = page.post("/servers", name="page-1", environment="prod", team="web", tags="eu, edge")
    assert made.status == 201
    token = re.search(r"--token (obs_server_[\w-]+) --url", made.text)[1]
    listed = page.ask("/servers").text
    assert "page-1" in listed and "waits for its first sample" in listed and token not in listed
    assert hub.get("/ingest", "POST", {"Authorization": f"Bearer {token}",
                                       "Content-Type": "application/json"},
                   json.dumps({"ts": time.time(), "metrics": {"cpu_percent": 1}}).encode()).status == 200
    listed = page.ask("/servers?q=page-1").text
    assert 'class="state up"' in listed and "waits for" not in listed
    assert "page-1" in page.ask("/servers?environment=prod&tag=edge").text
    assert "page-1" not in page.ask("/servers?environment=other").text


def test_labels_are_edited(visit, fleet):
    page = visit("operator")
    page.post("/servers", name="page-2", environment="prod", tags="a")
    form = page.ask("/manage/page-2").text
    assert 'value="prod"' in form and "Retire" not in form
    done = page.post("/manage/page-2", environment="", team="data", tags="b c", instance="i",
                     is_active="false")
    assert done.status == 303 and done.headers["Location"].endswith("/servers")
    assert fleet.query("SELECT labels, instance, is_active FROM servers WHERE vps_name = 'page-2'") == [
        ({"team": "data", "tags": ["b", "c"]}, "i", False)]


def test_a_new_token_is_shown_once(visit):
    page = visit("admin")
    page.post("/servers", name="page-3")
    page.ask("/manage/page-3")
    made = page.post("/manage/page-3/token")
    assert made.status == 201 and "obs_server_" in made.text
    assert "obs_server_" not in page.ask("/manage/page-3").text


def test_an_admin_retires_a_server(visit, fleet):
    page = visit("admin")
    page.post("/servers", name="page 4/é")
    page.ask("/manage/page%204%2F%C3%A9")
    done = page.post("/manage/page%204%2F%C3%A9/retire")
    assert done.status == 303
    assert fleet.one("SELECT state FROM v_fleet WHERE vps_name = 'page 4/é'") == "retired"


def test_a_bootstrap_token_is_made_and_revoked(visit):
    page = visit("operator")
    page.ask("/servers")
    made = page.post("/bootstrap-tokens", uses="3", expires_in="3600")
    assert made.status == 201 and "A token for 3 new servers" in made.text and "install.sh" in made.text
    name = re.search(r"obs_token_\w+", page.ask("/servers").text)[0]
    assert page.post(f"/bootstrap-tokens/{name}/end").status == 303
    assert name not in page.ask("/servers").text


def test_a_viewer_sees_servers_and_changes_nothing(visit):
    page = visit("viewer")
    text = page.ask("/servers").text
    assert "fra-1" in text and "<form class=\"panel fields\"" not in text
    assert page.post("/servers", name="page-9").status == 403
    assert page.ask("/manage/fra-1").status == 403


def test_a_form_without_the_sessions_mark_does_nothing(visit, fleet):
    page = visit("admin")
    page.csrf = "x"
    assert page.post("/servers", name="forged").status == 403
    assert fleet.count("servers", "vps_name = 'forged'") == 0


def test_a_mistake_is_told_on_the_page(visit):
    page = visit("operator")
    page.ask("/servers")
    page.post("/servers", name="twice")
    page.ask("/servers")
    answer = page.post("/servers", name="twice")
    assert answer.status == 422 and "is taken by another server" in answer.text


def test_labels_are_escaped(visit, fleet):
    page = visit("operator")
    page.ask("/servers")
    page.post("/servers", name='<b>"&', environment='<i>"', tags="<s>")
    text = page.ask("/servers").text
    assert "<b>\"" not in text and "<i>\"" not in text and "<s>" not in text and "&lt;s&gt;" in text
