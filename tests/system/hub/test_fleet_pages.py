"""A fleet of many servers comes in pages, small and fast, and on a wall."""
import re

import pytest
import seed_fleet

from hub_server import Hub

SERVERS = 1500
PAGE_KB = 150
BROKEN = 3                      # servers that are set down by the fixture


@pytest.fixture(scope="module")
def fleet(cluster):
    database = cluster.new_database()
    seed_fleet.seed_many(database, 2 * SERVERS)
    database.query("UPDATE latest_checks SET success = true")
    database.query("UPDATE agents SET last_seen_at = now() - interval '20 s'")
    database.query(f"""UPDATE latest_checks SET success = false, error_class = 'refused'
        WHERE vps_name IN (SELECT DISTINCT vps_name FROM agents ORDER BY vps_name DESC LIMIT {BROKEN})""")
    yield database
    database.drop()


@pytest.fixture(scope="module")
def hub(fleet, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), fleet.url("postgres"), "fastcgi").start()
    yield server
    server.stop()


def names(hub, **query):
    return [s["vps"] for s in hub.get("/", format="json", **query).json["servers"]]


def rows(page):
    return re.findall(r'<a class="go" href="/servers/([^"]*)"', page)


@pytest.mark.smoke
def test_pages_join_without_loss_or_repetition(hub):
    first = hub.get("/", format="json").json
    assert len(first["servers"]) == 1000 and (first["pages"], first["next"], first["previous"]) == (2, 2,
            None)
    second = hub.get("/", format="json", page="2").json
    assert (second["next"], second["previous"], second["first"], second["last"]) == (None, 1, 1001, 1500)
    both = [s["vps"] for s in first["servers"] + second["servers"]]
    assert len(both) == len(set(both)) == first["servers_found"] == SERVERS
    assert [s["state"] for s in first["servers"][:BROKEN + 1]] == ["down"] * BROKEN + ["up"]


@pytest.mark.parametrize("query", [{}, {"sort": "cpu"}, {"sort": "name"}, {"q": "srv-00"}, {"state": "up"}])
def test_the_pages_of_the_table_join_too(hub, query):
    seen, page = [], 1
    while page:
        answer = hub.get("/", page=str(page), **query)
        seen += rows(answer.text)
        page = re.search(r'rel="next" href="[^"]*page=(\d+)', answer.text)
        page = page and int(page[1])
    assert seen == names(hub, show="all", **query)


@pytest.mark.parametrize("query", [{}, {"page": "7"}, {"sort": "cpu"}, {"state": "down"}, {"view": "wall"}],
                         ids=str)
def test_a_page_is_small(hub, query):
    assert len(hub.get("/", **query).body) < PAGE_KB * 1000


def test_a_row_of_a_large_fleet_has_its_applications_and_what_is_wrong(hub):
    page = hub.get("/").text
    row = page[page.index('<tr class="row down'):page.index("</tr>", page.index('<tr class="row down'))]
    assert "app-0</a>" in row and "app-1</a>" in row
    assert "app-0: 2 of 2 checks: refused at http://127.0.0.1:8000/1" in row
    assert 'class="row sub' not in page


def test_the_wall_has_a_thousand_servers_by_state(hub):
    page = hub.get("/", view="wall").text
    walls = re.findall(r'<section class="panel (\w+)".*?</section>', page, re.S)
    assert walls == ["down", "up"]
    assert len(re.findall(r'<li><a href="/servers/', page)) == 1000
    assert 'rel="next"' in page and "<table" not in page
    rest = hub.get("/", view="wall", page="2").text
    assert len(re.findall(r'<li><a href="/servers/', rest)) == SERVERS - 1000
    assert "Servers 1,001 to 1,500 of 1,500" in re.sub("<[^>]*>", "", rest).replace("\u202f", ",")


@pytest.mark.parametrize("query, says", [
    ({"page": "0"}, "page"), ({"page": "-1"}, "page"), ({"page": "x"}, "page"), ({"page": "9" * 30}, "page"),
    ({"show": "0"}, "show"), ({"show": "1001"}, "show"), ({"show": "many"}, "show")])
def test_a_page_that_is_no_number_is_refused(hub, query, says):
    answer = hub.get("/", **query)
    assert answer.status == 400 and f'as "{says}"' in answer.text.replace("&quot;", '"')


def test_a_page_beyond_the_last_is_the_last(hub):
    assert names(hub, page="99") == names(hub, page="2")
    assert names(hub, q="no such server", page="5") == []


def test_the_number_of_servers_of_a_page_can_be_chosen(hub):
    assert len(rows(hub.get("/", show="200").text)) == 200
    assert len(names(hub, show="10", page="3")) == 10
    assert names(hub, show="10", page="3") == names(hub, show="all")[20:30]


def test_one_server_with_many_applications_is_one_row_of_twenty(hub, fleet):
    fleet.query("""INSERT INTO agents (vps_name, app_name, epoch, interval_s, first_seen_at, last_seen_at)
        SELECT 'wide', 'app-' || lpad(i::text, 3, '0'), 1, 60, now(), now() FROM generate_series(1, 150) i""")
    try:
        server = hub.get("/", format="json", q="wide").json["servers"][0]
        assert len(server["apps"]) == 20 and server["why"] == "130 more applications"
        assert len(hub.get("/", format="json", q="wide", show="all").json["servers"][0]["apps"]) == 150
        assert hub.get("/", format="csv", q="wide").text.count("\nwide,") == 150
    finally:
        fleet.query("DELETE FROM agents WHERE vps_name = 'wide'")


# ---- groups by labels -----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def labelled(fleet):
    """600 servers are of prod, 600 of "test & <b>"; the rest, the broken among them, have no label."""
    fleet.query("""INSERT INTO servers (vps_name, labels, created_by)
        SELECT vps_name, jsonb_build_object('environment',
            CASE WHEN n <= 600 THEN 'prod' ELSE 'test & <b>' END, 'region', 'r' || n % 3,
            'tags', '["a"]'::jsonb), 'test'
        FROM (SELECT DISTINCT vps_name, dense_rank() OVER (ORDER BY vps_name) AS n FROM agents) s
        WHERE n <= 1200""")
    yield fleet
    fleet.query("TRUNCATE servers")


def groups(answer):
    return [(g["label"], g["n"], g["state"], {s["state"]: s["n"] for s in g["states"]})
            for g in answer.json["by"]]


def test_groups_have_counts_and_their_worst_state_and_come_worst_first(hub, labelled):
    answer = hub.get("/", format="json", group="environment")
    assert groups(answer) == [("", 300, "down", {"down": BROKEN, "up": 300 - BROKEN}),
                              ("prod", 600, "up", {"up": 600}), ("test & <b>", 600, "up", {"up": 600})]
    labelled.query("""UPDATE latest_checks SET success = false WHERE vps_name =
        (SELECT min(vps_name) FROM agents)""")
    assert [(label, state) for label, _, state, _ in groups(hub.get("/", format="json", group="environment"))
            ] == [("prod", "down"), ("", "down"), ("test & <b>", "up")], "without a label: last of its state"
    labelled.query("""UPDATE latest_checks SET success = true WHERE vps_name =
        (SELECT min(vps_name) FROM agents)""")
    assert groups(hub.get("/", format="json", group="region", environment="prod")) == [
        ("r0", 200, "up", {"up": 200}), ("r1", 200, "up", {"up": 200}), ("r2", 200, "up", {"up": 200})]
    assert {k["key"]: k["current"] for k in hub.get("/", format="json", group="region").json["labels"]} == {
        "environment": False, "region": True}


def test_pages_of_groups_join_and_each_group_has_its_head(hub, labelled):
    seen, heads, page = [], [], 1
    while page:
        answer = hub.get("/", group="environment", page=str(page)).text
        seen += rows(answer)
        heads += re.findall(r'<th colspan="9" scope="rowgroup"><span class="name">([^<]*)</span>', answer)
        page = re.search(r'rel="next" href="[^"]*page=(\d+)', answer)
        page = page and int(page[1])
    assert len(seen) == len(set(seen)) == SERVERS
    once = [head for head, former in zip(heads, [None, *heads]) if head != former]
    assert once == ["no environment", "prod", "test &amp; &lt;b&gt;"]


def test_a_group_leads_to_its_servers(hub, labelled):
    page = hub.get("/", group="environment", sort="name").text
    links = re.findall(r'<li class="\w+"><a href="(\?[^"]*)"><span class="name">', page)
    assert len(links) == 3
    found = {}
    for link in links:
        answer = hub.get("/" + link.replace("&amp;", "&") + "&format=json").json
        assert "sort=name" in link and "group=environment" in link
        found[answer["by"][0]["label"]] = (answer["servers_found"], len(answer["by"]))
    assert found == {"": (300, 1), "prod": (600, 1), "test & <b>": (600, 1)}
    chip = re.search(r'<a class="chip" href="([^"]*)">environment=prod', hub.get(
        "/", label="environment=prod", group="region").text)
    assert chip and "label" not in chip[1] and "group=region" in chip[1]


def test_other_links_keep_the_filter(hub, labelled):
    page = hub.get("/", environment="prod", team="", tag="a", group="region").text
    sort = re.search(r'href="([^"]*sort=cpu[^"]*)"', page)[1]
    assert "environment=prod" in sort and "tag=a" in sort and "group=region" in sort
    assert 'name="group" value="region"' in page


@pytest.mark.parametrize("query", [{"group": "tags"}, {"group": "a b"}, {"group": "x" * 64}, {"label": "x"},
                                   {"label": "=x"}], ids=str)
def test_what_is_no_label_is_refused(hub, query):
    answer = hub.get("/", **query)
    assert answer.status == 400 and list(query)[0] in answer.text


def test_a_page_of_groups_is_small(hub, labelled):
    assert len(hub.get("/", group="environment").body) < PAGE_KB * 1000
    csv = hub.get("/", group="environment", format="csv").text.splitlines()
    assert "group" in csv[0].split(",") and "group_starts" not in csv[0]
