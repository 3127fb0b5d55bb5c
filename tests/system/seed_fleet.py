"""Rows of a fleet for the hub's tests and pictures, the same each time except for the clock.

seed(database) fills a small fleet in which each state occurs; seed_many(database, n) makes n agents
that are mostly well; seed_lines(database, n) makes n log lines. Rows are written as the superuser,
not by the agents' functions: these tests are about reading.
"""

FLEET = """
INSERT INTO agents (vps_name, app_name, epoch, last_seq, version, interval_s, skew_ms, state, first_seen_at,
    last_seen_at)
SELECT vps, app, 3, 1000, '0.1.0', 60, skew,
    '{"rss_kb": 13800, "pending": 0, "lost": 0, "tail": {"streams": [
        {"path": "/var/log/app.log", "lag_bytes": 70}], "lag_bytes": 70, "lag_s": 0}}'::jsonb ||
    CASE vps || ' ' || app
    WHEN 'fra-1 billing'
        THEN jsonb_build_object('pending', 2, 'last_outage', jsonb_build_object('samples', 312, 'since',
        to_char(now() - interval '25 min', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'until',
            to_char(now() - interval '17 min', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
    WHEN 'fra-1 shop'
        THEN '{"pending": 14, "lost": 46, "outbox": {"bytes": 1204, "in_memory": true,
        "trouble": "/var/lib/observ/shop: No space left on device"},
        "last_error": "cannot connect to db-1:5432: Connection refused",
        "tail": {"lag_bytes": 48211900, "lag_s": 214, "files": 12, "held": 1, "streams": [
        {"path": "/opt/deployments/shop/current/log/app.log", "lag_bytes": 41000700, "lag_s": 214,
        "rotated": false},
        {"path": "/opt/deployments/shop/current/log/app.log.1", "lag_bytes": 7211200, "lag_s": 190,
        "rotated": true}]}}'
    WHEN 'nyc-2 worker' THEN '{"pending": 312}' ELSE '{}' END::jsonb,
    now() - interval '40 days', now() - seen * interval '1 s'
FROM (VALUES
    ('fra-1', 'shop', 12, 21), ('fra-1', 'billing', 8, 20), ('fra-1', 'search', 31, 22),
    ('fra-2', 'shop', 41, -140), ('ams-1', 'billing', 18, 35), ('ams-1', 'worker', 27, 35),
    ('ams-2', 'api-gateway', 5, 3), ('hel-1', 'shop', 52, -12), ('hel-1', 'mailer', 49, -12),
    ('nyc-1', 'api-gateway', 22, 8400), ('nyc-2', 'worker', 5580, 11), ('sgp-1', 'search', 214, 40),
    ('syd-1', 'shop', 15, 66), ('syd-1', 'billing', 44, 66)) f (vps, app, seen, skew);

-- A day of metrics, each minute; a hole of 25 minutes on fra-1 this hour, and one of 3 h.
INSERT INTO vps_metrics (timestamp, vps_name, app_name, cpu_percent, memory_percent, memory_mb, disk_percent,
    disk_gb, load_avg_1m,
    load_avg_5m, load_avg_15m, cpu_iowait_percent, cpu_steal_percent, memory_total_mb, swap_percent,
        disk_total_gb, inode_percent,
    net_rx_bytes_per_s, net_tx_bytes_per_s, disk_read_bytes_per_s, disk_write_bytes_per_s, psi_cpu_percent,
        psi_memory_percent,
    psi_io_percent, tcp_connections, uptime_s, processes, cpu_count, app_cpu_percent, app_memory_mb, details)
SELECT t, vps_name, app_name, cpu, memory, memory * 80, disk, disk * 1.6, cpu / 22, cpu / 24, cpu / 26,
    cpu / 12 * random(), random(), 8000,
    4, 160, 11, 40000 + 30000 * random() + cpu * 4000, 90000 + 50000 * random() + cpu * 9000,
    900000 * random() ^ 6, 240000 + 200000 * random() ^ 2, greatest(0, cpu / 4 - 6 + 3 * random()), 0,
        2 * random() ^ 4, 180 + cpu, 3456000 + s * 60, 210, 4,
    greatest(0, cpu * 0.8 + 6 * random()), 240 + h % 300 + 20 * sin(s / 300.0),
    CASE WHEN s % 60 = 0
        THEN format('{"mounts": [{"mount": "/", "fs": "ext4", "percent": %s, "total_gb": 160, "used_gb": %s},
        {"mount": "/srv", "fs": "xfs", "percent": 41, "total_gb": 500, "used_gb": 205}]}',
        round(disk::numeric), round(disk::numeric * 1.6))::jsonb END
FROM (SELECT a.*, s, a.last_seen_at - (1440 - s) * interval '1 min' - interval '1 s' AS t, h,
        least(99, greatest(1, 14 + h % 41 + 9 * sin(s / 140.0 + h) + 5 * sin(s / 17.0) + 7 * random() +
            CASE WHEN vps_name = 'ams-2' THEN 34 ELSE 0 END)) AS cpu,
        least(99, 38 + h % 37 + 4 * sin(s / 90.0) + CASE WHEN vps_name = 'hel-1' THEN 22 ELSE 0
            END) AS memory,
        CASE vps_name WHEN 'syd-1' THEN 96.4 ELSE 21 + h % 63 + s / 1440.0 END AS disk
    FROM agents a, generate_series(1, 1440) s, LATERAL (SELECT abs(hashtext(a.vps_name)) % 1000 AS h) x) f
WHERE NOT (vps_name = 'fra-1' AND (s BETWEEN 1395 AND 1420 OR s BETWEEN 900 AND 1080));

INSERT INTO health_checks (timestamp, vps_name, app_name, url, status_code, response_time_ms, success,
    error_message, error_class,
    dns_ms, connect_ms, tls_ms, first_byte_ms, cert_expires_at, attempts)
SELECT t, vps_name, app_name, url, CASE WHEN bad THEN CASE vps_name WHEN 'ams-1' THEN 503 END ELSE 200 END,
    CASE WHEN bad AND vps_name = 'ams-2' THEN 5000 ELSE 24 + h % 90 + 30 * random() ^ 3 END, NOT bad,
    CASE WHEN bad THEN CASE vps_name WHEN 'ams-1' THEN 'status 503, expected 200' ELSE 'no answer within 5 s'
        END
        END,
    CASE WHEN bad THEN CASE vps_name WHEN 'ams-1' THEN 'status' ELSE 'timeout' END END, 1, 4, 9, 20,
    CASE WHEN url LIKE 'https:%' THEN now() + (CASE vps_name WHEN 'fra-2' THEN 9 ELSE 60 + h % 20
        END) * interval '1 day' END, 1
FROM (SELECT a.vps_name, a.app_name, u.url, s, a.last_seen_at - (180 - s) * interval '1 min' AS t,
    abs(hashtext(a.vps_name || u.url)) % 1000 AS h,
        s > 168 AND (a.vps_name = 'ams-2' OR (a.vps_name = 'ams-1' AND a.app_name = 'billing'
            AND u.url LIKE '%/pay%')) AS bad
    FROM agents a, generate_series(1, 180) s, LATERAL (SELECT 'http://127.0.0.1:8000/health' AS url
        UNION ALL SELECT 'https://' || a.app_name || '.example.com/' WHERE a.app_name <> 'worker'
            AND a.vps_name <> 'ams-2'
        UNION ALL SELECT 'http://127.0.0.1:8000/pay/ready' WHERE a.app_name = 'billing') u) c;

INSERT INTO gaps (timestamp, vps_name, app_name, stream_id, kind, lines, bytes, detail) VALUES
    (now() - interval '40 min', 'fra-1', 'shop', 1, 'truncated', NULL, 18211,
        'lines that were not read were cut off'),
    (now() - interval '17 min', 'fra-1', 'shop', 0, 'outbox_full', 46, -1,
        'samples that found no room while the database was away'),
    (now() - interval '35 min', 'fra-1', 'billing', 2, 'line_cut', 1, 40112,
        'a line of 302256 bytes was cut'),
    (now() - interval '12 min', 'fra-1', 'billing', 2, 'line_cut', 1, 1200, 'a line of 263344 bytes was cut'),
    (now() - interval '2 days', 'fra-1', 'billing', 2, 'line_cut', 1, 40112,
        'a line of 302256 bytes was cut');
INSERT INTO rejects (timestamp, vps_name, app_name, stream_id, stream_offset, sqlstate, reason, raw) VALUES
    (now() - interval '44 min', 'fra-1', 'shop', 1, 100, '22P02', 'invalid input syntax for type json',
        '\x7b'),
    (now() - interval '9 min', 'fra-1', 'shop', 1, 9000, '54000',
        'string is too long for tsvector (1048600 bytes, max 1048575 bytes)', '\x7b');
INSERT INTO deploys (timestamp, vps_name, app_name, release, note) VALUES
    (now() - interval '110 min', 'fra-1', 'shop', '2026.11.1', 'by the pipeline'),
    (now() - interval '30 min', 'fra-1', 'billing', '4.0.0-rc1', NULL),
    (now() - interval '3 days', 'fra-1', 'shop', '2026.10.7', NULL);
INSERT INTO log_streams (vps_name, app_name, stream_id, path, file_id, head_hash, tail_hash, position,
    finished, updated_at)
SELECT vps_name, app_name, 1, '/opt/deployments/' || app_name || '/current/log/app.log', '8:1:' || vps_name,
    'aa', 'bb', 1000000, false, last_seen_at FROM agents;
"""

LINES = """
INSERT INTO log_entries (timestamp, vps_name, app_name, level, logger, message, context, stream_id,
    stream_offset)
SELECT last_seen_at - least(b.back * back_unit, interval '29 days'), vps_name, app_name, level, logger,
    message, context, 1,
    (%(n)s - b.i) * 230
FROM (SELECT i, %(span_s)s * (i - random()) / %(n)s AS back, interval '1 s' AS back_unit,
    (random() * 1000)::int AS d, random() AS r,
        random() AS which, i %% 9000 AS k FROM generate_series(1, %(n)s) i) b
CROSS JOIN LATERAL (SELECT CASE WHEN r < 0.012 THEN 'CRITICAL' WHEN r < 0.05 THEN 'ERROR' WHEN r < 0.13
    THEN 'WARNING'
    WHEN r < 0.9 THEN 'INFO' ELSE 'DEBUG' END AS level) l
CROSS JOIN LATERAL (SELECT (ARRAY['http', 'payments', 'jobs', 'db', 'cache'])[1 + k %% 5] AS logger) g
CROSS JOIN LATERAL (SELECT * FROM (VALUES
    ('INFO', 'request served', jsonb_build_object('path', '/cart/' || k, 'status', 200, 'ms', d %% 180,
     'user_id', k)),
    ('INFO', 'user signed in', jsonb_build_object('user_id', k, 'method', 'password')),
    ('INFO', 'cache refreshed', jsonb_build_object('keys', 18000 + d, 'ms', d)),
    ('INFO', 'order placed', jsonb_build_object('order_id', 40000 + k, 'user_id', k, 'total',
     round(d / 10.0, 2))),
    ('DEBUG', 'pool has ' || d %% 20 || ' idle connections', jsonb_build_object('pool', 'primary')),
    ('DEBUG', 'job queue polled', NULL),
    ('WARNING', 'payment timeout, retrying', jsonb_build_object('order_id', 40000 + k, 'attempt', 2)),
    ('WARNING', 'slow query: SELECT * FROM orders WHERE status = $1', jsonb_build_object('ms', 900 + d)),
    ('ERROR', 'payment failed after 3 attempts: upstream timeout', jsonb_build_object('order_id', 40000 + k,
     'user_id', k, 'error', 'ETIMEDOUT')),
    ('ERROR', 'connection refused by db-2:5432', jsonb_build_object('errno', 111, 'host', 'db-2')),
    ('CRITICAL', 'out of disk space on /srv', jsonb_build_object('path', '/srv', 'free_mb', 12))) v (lv,
        message,
     context)
    WHERE lv = level ORDER BY md5(b.i || v.message) LIMIT 1) m
CROSS JOIN LATERAL (SELECT vps_name, app_name, last_seen_at FROM agents_numbered
    WHERE place = floor(which * agents_n)::int) a;
"""


def seed_lines(database, lines, span_s=3 * 3600):
    """Log lines of all agents, spread over the last span_s seconds."""
    database.query("""DROP TABLE IF EXISTS agents_numbered; CREATE TABLE agents_numbered AS
        SELECT vps_name, app_name, last_seen_at,
            (row_number() OVER (ORDER BY vps_name, app_name) - 1)::int AS place,
            (count(*) OVER ())::int AS agents_n FROM agents""")
    database.query("SELECT setseed(0.42)")
    database.query(LINES % {"n": lines, "span_s": span_s})
    database.query("DROP TABLE agents_numbered")
    database.query("ANALYZE")


def seed(database, lines=20000):
    database.query("SELECT setseed(0.42)")
    database.query(FLEET)
    database.query("SELECT rebuild_latest()")
    seed_lines(database, lines)


def refresh(database):
    """Move the newest rows forward, so that each agent, server and check is as old as right after seeding."""
    for table, place in (("vps_metrics", "vps_name, app_name"), ("health_checks", "vps_name, app_name, url")):
        database.query(f"""INSERT INTO {table}
                SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(f) || jsonb_build_object(
                'timestamp', f.timestamp + (now() - interval '40 days' - a.first_seen_at)))).*
            FROM agents a JOIN (SELECT DISTINCT ON ({place}) * FROM {table}
                ORDER BY {place}, timestamp DESC) f USING (vps_name, app_name)
            WHERE a.first_seen_at BETWEEN now() - interval '41 days'
                AND now() - interval '40 days 5 minutes'""")
    database.query("""UPDATE agents SET
        last_seen_at = last_seen_at + (now() - interval '40 days' - first_seen_at),
        first_seen_at = now() - interval '40 days' WHERE first_seen_at < now() - interval '39 days'""")
    database.query("SELECT rebuild_latest()")


def seed_many(database, agents, apps_per_server=2):
    """Many agents, an hour of metrics and checks each; one in fifty has something wrong."""
    database.query("SELECT setseed(0.42)")
    database.query("""
        INSERT INTO agents (vps_name, app_name, epoch, last_seq, version, interval_s, skew_ms, first_seen_at,
            last_seen_at)
        SELECT 'srv-' || lpad((i / %(per)s)::text, 4, '0'), 'app-' || i %% %(per)s, 1, 1, '0.1.0', 60, 5,
            now() - interval '9 days',
            now() - (CASE WHEN i %% 50 = 7 THEN 7200 ELSE i %% 55 END) * interval '1 s'
                FROM generate_series(0, %(n)s - 1) i;
        INSERT INTO vps_metrics (timestamp, vps_name, app_name, cpu_percent, memory_percent, disk_percent,
            load_avg_1m, cpu_count,
            memory_total_mb, disk_total_gb, app_cpu_percent, app_memory_mb)
        SELECT last_seen_at - s * interval '1 min', vps_name, app_name,
            50 + 40 * sin(s / 9.0 + hashtext(vps_name)), 40 + s %% 40,
            20 + abs(hashtext(vps_name)) %% 70, 1.2, 4, 8000, 160, 12, 300
                FROM agents, generate_series(0, 60) s;
        INSERT INTO health_checks (timestamp, vps_name, app_name, url, status_code, response_time_ms, success,
            error_class)
        SELECT last_seen_at - s * interval '1 min', vps_name, app_name, 'http://127.0.0.1:8000/' || u, 200,
            20,
            hashtext(vps_name || app_name) %% 50 <> 0 OR s > 5, 'timeout'
                FROM agents, generate_series(0, 60) s, generate_series(1, 2) u""" %
        {"n": agents, "per": apps_per_server})
    database.query("SELECT rebuild_latest()")
    database.query("ANALYZE")
