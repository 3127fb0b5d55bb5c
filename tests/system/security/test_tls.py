"""The lines for pg_hba.conf in docs/security.md, with real certificates: which clients they accept and
refuse."""
import contextlib
import re
import socket
import threading

import psycopg2
import pytest
from certificates import make_authority, make_certificate, psql, put, use_certificate
from harness import TOP, Cluster, Database, cluster_folder

DATABASE = "observ_metrics"


def block(name):
    """The lines of the page behind the comment of that name."""
    text = (TOP / "docs" / "security.md").read_text()
    return re.search(rf"<!-- {name} -->\n```\n(.*?)```", text, re.S)[1]


class Server:
    def __init__(self, folder):
        self.folder = folder
        self.cluster = Cluster(folder / "pg")
        self.cluster.start()
        self.cluster.stop()
        with socket.socket() as s:      # choose it late: another process may take it
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.cluster.start("listen_addresses=127.0.0.1", f"port={self.port}")
        self.cluster.install(DATABASE)
        self.db = Database(self.cluster, DATABASE)
        make_authority(folder)
        for file, name in (("server", "localhost"), ("obs_web_1", "obs_web_1"),
                           ("web-1", "web-1.example.com"), ("web-2", "web-2.example.com")):
            make_certificate(folder, file, name)
        put(self.cluster, folder / "ca.crt", "ca.crt")
        psql(self.cluster, "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'")
        use_certificate(self.cluster, folder, "server")
        self.passwords = dict(self.db.query("SELECT * FROM enroll('web-1') UNION ALL SELECT * "
                                            "FROM enroll('web-2')"))

    def hba(self, lines):
        data = self.cluster.folder / "data"
        (data / "pg_hba.conf").write_text("local all all trust\n" + lines)
        (data / "pg_ident.conf").write_text(block("pg_ident"))
        psql(self.cluster, "SELECT pg_reload_conf()")

    def url(self, role="obs_web_1", certificate=None, database=DATABASE, sslmode="verify-full", password=True,
            **more):
        more.update({"sslcert": f"{self.folder}/{certificate}.crt",
                     "sslkey": f"{self.folder}/{certificate}.key"} if certificate else {})
        options = "&".join(f"{k}={v}" for k, v in {"sslmode": sslmode, "sslrootcert": f"{self.folder}/ca.crt",
                                                   **more}.items())
        word = f":{self.passwords[role]}" if password else ""
        return f"postgresql://{role}{word}@localhost:{self.port}/{database}?{options}"

    def refusal(self, **how):
        """The reason why the client is refused; None: it is accepted."""
        try:
            with contextlib.closing(psycopg2.connect(self.url(**how))):
                return None
        except psycopg2.OperationalError as error:
            return str(error)


@pytest.fixture(scope="module")
def server():
    with cluster_folder() as folder:
        s = Server(folder)
        yield s
        s.db.close()
        s.cluster.stop("immediate")


def test_passwords_with_channel_binding(server, make_agent):
    server.hba(block("pg_hba: passwords"))
    agent = make_agent(None, vps_name="web-1", postgres_url=server.url(channel_binding="require")).start()
    server.db.wait("SELECT count(*) > 0 FROM vps_metrics")
    assert server.db.query("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                           "WHERE usename = 'obs_web_1'") == [(True,)]
    agent.stop()
    assert "no encryption" in server.refusal(sslmode="disable")
    assert "pg_hba.conf rejects" in server.refusal(database="postgres")


def test_channel_binding_refuses_a_server_that_asks_for_the_password(server):
    """A man in the middle with a valid certificate would ask for the password in clear, or not at all."""
    for method in ("password", "trust"):
        server.hba(f"hostssl all all 127.0.0.1/32 {method}\n")
        assert server.refusal() is None
        assert "channel binding" in server.refusal(channel_binding="require"), method


def test_a_token_is_exchanged_for_a_login(server):
    server.hba(block("pg_hba: passwords"))
    (token,) = server.db.query("SELECT * FROM make_token()")
    server.passwords.update([token])
    url = server.url(token[0], channel_binding="require")
    with contextlib.closing(psycopg2.connect(url)) as c, c, c.cursor() as cursor:
        cursor.execute("SELECT * FROM observ.bootstrap_enroll('web-3')")
        server.passwords.update(cursor.fetchall())
    assert server.refusal(role="obs_web_3", channel_binding="require") is None
    with contextlib.closing(psycopg2.connect(server.url(token[0]))) as c, c.cursor() as cursor:
        with pytest.raises(psycopg2.Error, match="this token is used up: it was for 1 server"):
            cursor.execute("SELECT * FROM observ.bootstrap_enroll('web-4')")
    server.db.query("SELECT revoke_token(%s)", token[0])
    assert "pg_hba.conf rejects" in server.refusal(role=token[0])


def test_a_token_for_one_server_used_twice_at_once(server):
    server.hba(block("pg_hba: passwords"))
    (token,) = server.db.query("SELECT * FROM make_token()")
    server.passwords.update([token])
    connect = lambda: contextlib.closing(psycopg2.connect(server.url(token[0])))       # noqa: E731
    with connect() as first, connect() as second:
        first.cursor().execute("SELECT * FROM observ.bootstrap_enroll('once-1')")
        said = []

        def ask():
            try:
                second.cursor().execute("SELECT * FROM observ.bootstrap_enroll('once-2')")
            except psycopg2.Error as error:
                said.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        server.db.wait("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        first.commit()
        thread.join(10)
    assert said and "this token is used up" in said[0]
    assert server.db.query("SELECT vps_name FROM agent_roles WHERE enrolled_by = %s",
                           token[0]) == [("once-1",)]


def test_a_certificate_beside_the_password(server, make_agent):
    server.hba(block("pg_hba: certificate and password"))
    url = server.url(certificate="obs_web_1", channel_binding="require")
    agent = make_agent(None, vps_name="web-1", app="both", postgres_url=url).start()
    server.db.wait("SELECT count(*) > 0 FROM vps_metrics WHERE app_name = 'both'")
    agent.stop()
    assert "requires a valid client certificate" in server.refusal()
    assert server.refusal(certificate="obs_web_1") is None
    assert server.refusal(certificate="web-1"), \
        "a certificate by another name; PostgreSQL calls it a wrong password"
    assert "password" in server.refusal(certificate="obs_web_1", password=False), "the certificate alone"


def test_a_certificate_instead_of_the_password(server, make_agent):
    server.hba(block("pg_hba: certificate"))
    url = server.url(certificate="web-1", password=False)
    agent = make_agent(None, vps_name="web-1", app="cert", postgres_url=url).start()
    server.db.wait("SELECT count(*) > 0 FROM vps_metrics WHERE app_name = 'cert'")
    agent.stop()
    assert "certificate authentication failed" in server.refusal(certificate="web-2",
                                                                 password=False), "that of another server"
    assert "requires a valid client certificate" in server.refusal()


def test_a_certificate_does_not_outlive_a_rotation(server):
    """VALID UNTIL applies only to passwords, so the functions check the date."""
    server.hba(block("pg_hba: certificate"))
    server.db.query("SELECT rotate_server('web-1', '0')")
    with contextlib.closing(psycopg2.connect(server.url(certificate="web-1",
                                                        password=False))) as c, c.cursor() as cursor:
        with pytest.raises(psycopg2.Error, match="was replaced by another"):
            cursor.execute("SELECT observ.push_gaps('web-1', 'a', '[]')")
    server.db.query("SELECT rotate_finish('web-1')")
    assert "obs_web_1" in server.refusal(certificate="web-1",
                                         password=False), "and after that nobody has that name"
