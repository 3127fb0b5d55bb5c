"""The log search finds what the words and the grammar promise: a table of lines and queries."""
import contextlib
import json
import unicodedata

import psycopg2
import pytest

from harness import Database
from hub_server import Hub

NFD = unicodedata.normalize("NFD", "café Ångström")
NFC = unicodedata.normalize("NFC", "café Ångström")
RPC = {"message": "call failed", "context": {"error": {"code": -32601, "data": [{"hint": "no such method"}]}}}
SHOP = {"message": "order placed", "logger": "com.example.shop.OrderService.place", "level": "ERROR",
        "context": {"user id": 7, "ms": 512.5, "status": 503, "at": "2026-11-20T10:00:00Z", "ok": True, "none": None,
                    "user": {"name": "anna", "tags": ["red", "blue"]}, "a.b": "dotted", "empty": "", "n": "12",
                    "path": "/var/log/nginx/error.log", "say": "he said \"no\"\nthen left", "(x)": "y)", "q\"k": "q\"v*"}}
JVM = "java.lang.NullPointerException: Cannot invoke \"String.length()\" because \"<local1>\" is null"
GET = "GET /v1/orders/12?x=y HTTP/1.1 200 from 10.1.2.3:51234 to https://shop.example.com:8443/cart#top"
MAIL = "mail to anna.b+news@example.com bounced: 550 5.1.1"
UUID = "request 3f2a9c1e-12e4-4b7a-9e1d-0a1b2c3d4e5f took 1.5e3 ms"
TAG = "<event name=\"x\"/> <a href='#y'>z</a> &amp; done"
SNAKE = "payment_failed kebab-case-word CamelCaseWord parseHTTPRequest userID42 OAuth2Client"
SIGN = "C++ and C# !!! \U0001F680 -- => 100%"
HEX = "trace 12e3abc 0xDEADBEEF 1e5z v2.3.4-rc1"
JA = "データベース接続に失敗しました。再試行します"
ZH = "用户登录失败：密码错误 user=张三"
KO = "결제 처리에 실패했습니다 주문번호1234"
TH = "การเชื่อมต่อล้มเหลว กรุณาลองใหม่"
RU = "Ошибка подключения к базе данных: ТАЙМАУТ"
EL = "Σφάλμα σύνδεσης ΟΔΟΣ στον διακομιστή"
AR = "فشل الاتصال بقاعدة البيانات"
HE = "שגיאה בחיבור למסד הנתונים"
HI = "भुगतान विफल रहा हिन्दी"
KM = "ការតភ្ជាប់បរាជ័យ"
TR = "İSTANBUL bağlantısı koptu"
DE = "Größe überschritten: STRASSE straße"
VI = "kết nối thất bại"
QUOTED = "‘curly’ “quotes”—dash…ellipsis→arrow non\u00a0breaking zero\u200bwidth soft\u00adhyphen"

CASES = [
    # paths, addresses, tags, numbers
    (GET, "orders", True), (GET, "v1", True), (GET, "12", True), (GET, "/v1/orders/12", True),
    (GET, "/v1/orders/13", False), (GET, "orders/12?x=y", True), (GET, "x=y", True), (GET, "y=x", False),
    (GET, "shop.example.com", True), (GET, "example", True), (GET, "exampl", True), (GET, "xample", False),
    (GET, "10.1.2.3", True), (GET, "1.2.3", True), (GET, "10.1.2", True), (GET, "10.1.2.3:51234", True),
    (GET, "10.1.2.3:51235", False), (GET, "0.1.2.3", False), (GET, "10.1.3.2", False), (GET, "51234", True),
    ("from 10.1.2.33", "10.1.2.3", False), ("from 10.1.2.3.4", "10.1.2.3", True), ("10 then 1 then 2 then 3", "10.1.2.3", False),
    ("10-1-2-3", "10.1.2.3", True), ("10-1-2-3", '"10.1.2.3"', False), (GET, '"10.1.2.3"', True), (GET, '"10.1.2.3:5"', False),
    (GET, '"/v1/orders/12"', True), (GET, '"v1 orders 12"', True), (GET, '"v1  orders"', True), (GET, '"?x=y HTTP"', True),
    (GET, '"?x=z"', False), (GET, "https://shop.example.com:8443/cart", True), (GET, "cart#top", True), (GET, '"#top"', True),
    (GET, '"#to"', False), (GET, "http/1.1", True), (GET, "HTTP/1", True), (GET, "get", True),
    (MAIL, "example.com", True), (MAIL, "anna", True), (MAIL, "news@example", True), (MAIL, "anna.b+news@example.com", True),
    (MAIL, "5.1.1", True), (MAIL, "550", True), (MAIL, "b+newt", False),
    (JVM, "NullPointerException", True), (JVM, "nullpointer", True), (JVM, "pointer", True), (JVM, "lang", True),
    (JVM, "java.lang", True), (JVM, "local1", True), (JVM, "invoke", True), (JVM, "String.length", True),
    (JVM, '"String.length()"', True), (JVM, '"because \\"<local1>\\" is"', True), (JVM, "lang.java", False),
    (TAG, "name", True), (TAG, "event", True), (TAG, "<event", True), (TAG, '"<event name"', True), (TAG, "href", True),
    (TAG, "amp", True), (TAG, "done", True), (TAG, "z", True), (TAG, '"&amp;"', True), (TAG, '"& amp"', False),
    (UUID, "3f2a9c1e-12e4-4b7a-9e1d-0a1b2c3d4e5f", True), (UUID, "4b7a", True), (UUID, "0a1b2c3d4e5f", True),
    (UUID, "12e4", True), (UUID, "e4", False), (UUID, "3f2a9c1e-12e4", True), (UUID, "12e4-3f2a9c1e", False),
    (HEX, "12e3abc", True), (HEX, "12e3", True), (HEX, "abc", False), (HEX, "1e5z", True), (HEX, "deadbeef", True), (HEX, "eadbeef", False),
    (HEX, "0xdeadbeef", True), (HEX, "z", False), (HEX, "2.3.4", False), (HEX, "v2.3.4", True), (HEX, "v2.3.4-rc1", True),
    (RPC, "32601", True), (RPC, "-32601", True), (RPC, "-32602", False), (RPC, "NOT 32601", False), (RPC, "NOT 1", True),
    (RPC, "method", True), (RPC, "hint", True), (RPC, "error", True), (RPC, "call -hint", False), (RPC, "no such method", True),
    ("code 32601", "-32601", False), ("code 32601", "32601", True), ("code -32601", "-32601", True),
    ("code -326011", "-32601", False), ("t=-1.5", "-1.5", True), ("code -32601", "--32601", False),
    # names
    (SNAKE, "payment_failed", True), (SNAKE, "failed", True), (SNAKE, "payment", True), (SNAKE, "payment-failed", True),
    (SNAKE, "failed_payment", False), (SNAKE, "kebab", True), (SNAKE, "case-word", True), (SNAKE, "camelcaseword", True),
    (SNAKE, "camel", True), (SNAKE, "request", True), (SNAKE, "http", True), (SNAKE, "parsehttp", True), (SNAKE, "client", True),
    (SNAKE, "oauth2client", True), (SNAKE, "auth2", True), (SNAKE, "melcase", False), (SNAKE, "id42", True),
    (SHOP, "OrderService", True), (SHOP, "service", True), (SHOP, "com.example.shop.OrderService.place", True), (SHOP, "shop", True),
    (SHOP, "place", True), (SHOP, "nginx", True), (SHOP, "nginx/error.log", True), (SHOP, "user", True), (SHOP, "dotted", True),
    (SHOP, "512", True), (SHOP, "512.5", True), (SHOP, "red", True), (SHOP, "blue", True), (SHOP, '"said \\"no\\""', True),
    (SHOP, "then", True), (SHOP, "nthen", False), (SHOP, '"no\\" then"', False), (SHOP, "true", True), (SHOP, "place order", True),
    (SHOP, '"order place"', False), (SHOP, '"status": 503', True), (SHOP, '"\\"status\\": 503"', True), (SHOP, '"\\"status\\": 504"', False),
    # what is no word
    (SIGN, "!!!", True), (SIGN, "\U0001F680", True), (SIGN, "\U0001F681", False), (SIGN, "=>", True), (SIGN, "C++", True), (SIGN, '"C++"', True),
    (SIGN, '"C#"', True), (SIGN, '"C--"', False), (SIGN, "100%", True), (SIGN, "????", False), (SIGN, "--", True), (SIGN, "()", False),
    (SIGN, '""', False), (SIGN, "-!!!", False), (SIGN, "NOT \U0001F681", True), (SIGN, "OR", False), (SIGN, "*", False), (SIGN, ".", False),
    # scripts
    (JA, "データベース", True), (JA, "接続", True), (JA, "失敗しま", True), (JA, "敗し", True), (JA, "タベ", True), (JA, "データ接続", False),
    (JA, "失敗しました。再試行", True), (JA, '"ました。再試"', True), (JA, "敗", True), (JA, "す", True), (JA, "再試行します", True),
    (ZH, "登录", True), (ZH, "登录失败", True), (ZH, "失败登录", False), (ZH, "密码错误", True), (ZH, "张三", True), (ZH, "user", True),
    (ZH, "user=张三", True), (ZH, "三", True), (ZH, "失败：密码", True), (ZH, "败密", False), ("失 败", "失败", False),
    (KO, "결제", True), (KO, "실패했", True), (KO, "패했습", True), (KO, unicodedata.normalize("NFD", "처리"), True), (KO, "주문번호", True),
    (KO, "1234", True), (KO, "번호1234", True), (KO, "234", False), (KO, "번호 1234", True),
    (TH, "เชื่อมต่อ", True), (TH, "ล้มเหลว", True), (TH, "มเหล", True), (TH, "เหลวล้ม", False),
    (KM, "បរាជ័យ", True), (KM, "តភ្ជាប់", True), (KM, "យបរា", False),
    (RU, "ошибка", True), (RU, "ОШИБКА", True), (RU, "таймаут", True), (RU, "подключ", True), (RU, "дключ", False), (RU, '"базе данных"', True),
    (EL, "σφάλμα", True), (EL, "ΣΦΆΛΜΑ", True), (EL, "οδος", True), (EL, "ΟΔΟΣ", True), (EL, "συνδεσης", False), (EL, "διακομ", True),
    (AR, "الاتصال", True), (AR, "فشل الاتصال", True), (AR, "قاعدة", False), (AR, "بقاعدة", True),
    (HE, "בחיבור", True), (HE, "שגיאה", True), (HE, "גיאה", False),
    (HI, "हिन्दी", True), (HI, "हिन्द", True), (HI, "विफल", True), (HI, "हिन्दू", False), (HI, '"भुगतान विफल"', True),
    (TR, "istanbul", False), (TR, "İstanbul", True), (TR, "bağlantısı", True), (TR, "baglantisi", False),
    (DE, "größe", True), (DE, "GRÖSSE", False), (DE, "strasse", True), (DE, "straße", True), (DE, "ÜBERSCHRITTEN", True), (DE, "uberschritten", False),
    (VI, unicodedata.normalize("NFD", "kết nối"), True), (VI, "thất bại", True), (VI, "ket", False),
    (NFD, "café", True), (NFC, unicodedata.normalize("NFD", "café"), True), (NFD, "CAFÉ", True), (NFD, "cafe", False), (NFC, "ångström", True),
    (QUOTED, "curly", True), (QUOTED, "quotes—dash", True), (QUOTED, "ellipsis", True), (QUOTED, "arrow", True), (QUOTED, '"non breaking"', True),
    (QUOTED, "zerowidth", True), (QUOTED, "softhyphen", True), (QUOTED, '"…ellipsis"', True), (QUOTED, '"-ellipsis"', False), (QUOTED, "“quotes”", True),
    # grammar
    (GET, "orders nginx", False), (GET, "orders OR nginx", True), (GET, "nginx | orders", True), (GET, "orders -cart", False),
    (GET, "orders NOT nginx", True), (GET, "NOT (nginx OR apache)", True), (GET, "NOT (nginx OR cart)", False),
    (GET, "(nginx OR orders) cart", True), (GET, "nginx OR orders nocart", False), (GET, "orders AND cart", True), (GET, "-(orders cart)", False),
    (GET, "-(orders nocart)", True), (GET, "NOT NOT orders", True), (GET, "orders -\"10.1.2.3\"", False), (GET, "((orders)", True),
    (GET, "orders)", True), (GET, "OR orders", True), (GET, "orders OR", True), (GET, '"v1 orders', True), (GET, "ord* car*", True), (GET, "or* ", True),
    (SHOP, "level:error", True), (SHOP, "level>=warning", True), (SHOP, "level<error", False), (SHOP, "-level:error", False),
    (SHOP, "level:info", False), (SHOP, "level:info OR ctx.ms>500", True), (SHOP, "level:debug level:error", True), (SHOP, "level:*", True),
    (SHOP, "level!=error", False), (GET, "level:info", True), (GET, "level>info", False),
    (SHOP, "ctx.ms>500", True), (SHOP, "ctx.ms>512.5", False), (SHOP, "ctx.ms>=512.5", True), (SHOP, "ctx.ms<1e3", True), (SHOP, "ctx.ms>500 ctx.ms<510", False),
    (SHOP, "ctx.status=5*", True), (SHOP, "ctx.status=4*", False), (SHOP, "ctx.status:503", True), (SHOP, "ctx.status=503.0", True), (SHOP, "ctx.status!=503", False),
    (SHOP, "-ctx.status=500", True), (SHOP, "ctx.ms=512.50", True), (SHOP, "ctx.n>11", True), (SHOP, "ctx.n=12", True), (SHOP, "ctx.n=12.0", False),
    (SHOP, "ctx.user.name=anna", True), (SHOP, "ctx.user.name=ann", False), (SHOP, "ctx.user.name=ann*", True), (SHOP, "ctx.user.tags=red", True),
    (SHOP, "ctx.user.tags=green", False), (SHOP, "ctx.a.b=dotted", True), (SHOP, 'ctx."user id"=7', True), (SHOP, 'ctx."user id"=8', False), (SHOP, 'ctx."user id":*', True),
    (SHOP, "ctx.user:*", True), (SHOP, "ctx.nobody:*", False), (SHOP, "-ctx.nobody:*", True), (SHOP, "ctx.none:*", True), (SHOP, "ctx.none=null", True),
    (SHOP, "ctx.ok=true", True), (SHOP, "ctx.ok=false", False), (SHOP, 'ctx.empty=""', True), (SHOP, 'ctx.say="he said \\"no\\"\nthen left"', True),
    (SHOP, 'ctx."(x)"="y)"', True), (SHOP, '(ctx."(x)"="y)")', True), (SHOP, 'ctx."q\\"k"="q\\"v*"', True), (SHOP, 'ctx."q\\"k"="q\\"v"', False),
    (SHOP, "ctx.at>2026-11-20", True), (SHOP, "ctx.at<2026-11-20T09:59:59Z", False), (SHOP, "ctx.at>=2026-11-20T11:00:00+01:00", True),
    (SHOP, "ctx.status:500 ctx.status:503", True), (SHOP, "logger:com.example.shop.OrderService.place", True), (SHOP, "logger:com.example", False),
    (SHOP, "logger:com.example*", True), (SHOP, "logger:*", True), (GET, "logger:*", False), (GET, "-logger:x", True), (SHOP, "CTX.ok=true", True),
    (GET, "-ctx.status=503", True), (GET, "NOT ctx.ms>1", True), (SHOP, "ctx.ms>2026-01-01", False), (SHOP, "ctx.at>5", False),
]


@pytest.fixture(scope="module")
def lines(cluster):
    """Each different line of the cases, under an application of its own."""
    database = cluster.new_database()
    keys = {}
    for line, _, _ in CASES:
        keys.setdefault(json.dumps(line), f"l{len(keys)}")
    for text, app in keys.items():
        line = json.loads(text)
        line = {"message": line} if isinstance(line, str) else line
        database.query("INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message, context) VALUES (now(), 'v', %s, %s, %s, %s, %s)",
                       app, line.get("level", "INFO"), line.get("logger"), line["message"],
                       json.dumps(line["context"]) if "context" in line else None)
    database.keys = keys
    yield database
    database.close()


@pytest.fixture(scope="module")
def hub(lines, tmp_path_factory):
    server = Hub(tmp_path_factory.mktemp("hub"), lines.url("postgres"), "fastcgi").start()
    yield server
    server.stop()


def found(hub, q):
    answer = hub.get("/logs", q=q, format="ndjson")
    assert answer.status == 200, (q, answer.text)
    return {json.loads(line)["app"] for line in answer.text.splitlines()}


def test_the_table_of_lines_and_queries(hub, lines):
    answers, wrong = {}, []
    assert len(CASES) >= 150
    for line, q, expected in CASES:
        if q not in answers:
            answers[q] = found(hub, q)
        if (lines.keys[json.dumps(line)] in answers[q]) != expected:
            wrong.append((line if isinstance(line, str) else line["message"], q, "missed" if expected else "found"))
    assert wrong == []


def test_a_database_of_locale_c_finds_the_same(cluster, lines):
    """The hub's words do not depend on the locale: all tsvectors are the same."""
    connection = psycopg2.connect(cluster.url())
    connection.autocommit = True
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE observ_c OWNER observ_admin TEMPLATE template0 ENCODING UTF8 LOCALE 'C'")
    cluster.pg("install", cluster.folder, "observ_c")
    other = Database(cluster, "observ_c")
    try:
        rows = lines.query("SELECT level, logger, message, context::text, search::text FROM log_entries")
        for level, logger, message, context, search in rows:
            assert other.one("SELECT words(%s, %s, %s, %s::jsonb)::text", level, logger, message, context) == search, message
    finally:
        other.drop()
