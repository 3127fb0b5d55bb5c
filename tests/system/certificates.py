"""Certificates for servers and clients, made with the openssl command; a cluster that uses one."""
import os

from harness import run

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(folder, *arguments):
    run("openssl", *arguments, cwd=folder)


def make_authority(folder, name="ca"):
    openssl(folder, "req", "-x509", *KEY, "-days", "10", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-out", f"{name}.crt")


def make_certificate(folder, file, name, days="5", ca="ca"):
    """FILE.crt and FILE.key, for a host (or a client) of that name."""
    openssl(folder, "req", *KEY, "-subj", f"/CN={name}", "-keyout", f"{file}.key", "-out", f"{file}.csr")
    (folder / "ext").write_text(f"subjectAltName=DNS:{name}\n")
    openssl(folder, "x509", "-req", "-in", f"{file}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key",
            "-CAcreateserial", "-days", days, "-extfile", "ext", "-out", f"{file}.crt")


def put(cluster, source, name):
    """Copy a file into the cluster's data folder, readable only by its user."""
    to, owner = cluster.folder / "data" / name, (cluster.folder / "data").stat()
    to.write_bytes(source.read_bytes())
    to.chmod(0o600)
    os.chown(to, owner.st_uid, owner.st_gid)


def psql(cluster, sql, database="postgres"):
    return run("psql", "-XAtq", cluster.url(database), "-c", sql).strip()


def use_certificate(cluster, folder, name):
    for part in ("crt", "key"):
        put(cluster, folder / f"{name}.{part}", f"server.{part}")
    psql(cluster, "ALTER SYSTEM SET ssl = on")
    psql(cluster, "SELECT pg_reload_conf()")
