"""The dates of certificates: from a real handshake, through the agent and the database, to the rules that
judge them."""
import datetime
import http.server
import threading

from bad_http import certificate

DAY = datetime.timedelta(days=1)

# A certificate by its days of life and the days that are left: the rule that has a level for it, and which.
CERTIFICATES = {
    (6, 5): None,                               # as Let's Encrypt renews those of six days
    (6, 1.8): ("certificate_life", "warning"),  # less than a third is left, ...
    (6, 0.5): ("certificate_life", "critical"),  # ... less than a sixth
    (90, 80): None,
    (90, 15): None,                             # a sixth is left, but it lives long: days count
    (90, 10): ("certificate", "warning"),
    (90, 5): ("certificate", "critical"),
}


class Good(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(folder, life, left, now):
    """(server, start, end) of an HTTPS server with such a certificate."""
    end = now + left * DAY
    start = end - life * DAY
    context = certificate(folder, f"{life}-{left}", *(f"{t:%Y%m%d%H%M%SZ}" for t in (start, end)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Good)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, start, end


def test_certificates_are_judged_by_the_share_of_their_life(db, make_agent, tmp_path):
    """A certificate of six days is fine most of its life, one of 90 days until 14 days before its end."""
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    served = {key: serve(tmp_path, *key, now) for key in CERTIFICATES}
    urls = {f"https://127.0.0.1:{server.server_port}/": key for key, (server, _, _) in served.items()}
    make_agent(db, health_checks=[{"url": url, "verify_tls": False} for url in urls]).start()
    db.wait("SELECT count(DISTINCT url) = %s FROM health_checks WHERE success", len(urls))
    dates = db.query("SELECT DISTINCT url, cert_starts_at, cert_expires_at FROM health_checks")
    assert {urls[url]: (start, end) for url, start, end in dates} == \
        {key: (start, end) for key, (_, start, end) in served.items()}
    levels = db.query("""
        SELECT v.subject->>'check', builtin, CASE WHEN value < critical THEN 'critical'
            WHEN value < warning THEN 'warning' END
        FROM alert_rules r, rule_values(r, now()) v WHERE builtin LIKE 'certificate%%'""")
    assert len(levels) == len(urls), "one rule judges each certificate"
    found = {urls[url]: (rule, level) for url, rule, level in levels if level}
    assert found == {key: level for key, level in CERTIFICATES.items() if level}
    soon = db.query("""
        SELECT url FROM health_checks WHERE certificate_soon(cert_starts_at, cert_expires_at, now())""")
    assert {urls[url] for url, in soon} == set(found), "the page marks those that alerts are about"
    for server, _, _ in served.values():
        server.shutdown()
        server.server_close()
