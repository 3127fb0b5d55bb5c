-- The servers of the demo's fleet, and what happens on them. fleet.sql includes this file and makes rows
-- of it.
--
-- Times are told from the start of the demo backwards: '38 min' is 38 minutes before it, '-1 year' never
-- ends.

-- ---- servers ------------------------------------------------------------------------------------
-- cycle: when it is busy, see busy(). cpu, memory: percent when idle, and what is added when busy. disk:
-- percent at the start of the demo, and what is added in a day. net_kb, io_kb: kB/s when busy. backup:
-- percent of the time that it waits for its disk while the nightly backup runs.
CREATE TABLE host (
	place int GENERATED ALWAYS AS IDENTITY, vps_name text PRIMARY KEY,
	environment text DEFAULT 'production', team text,
	cycle text, cores int, memory_mb int, disk_gb int, up_days int,
	cpu float8, cpu_busy float8, memory float8, memory_busy float8, disk float8, disk_day float8,
	net_kb float8, io_kb float8, backup float8
);
INSERT INTO host (vps_name, team, cycle, cores, memory_mb, disk_gb, up_days, cpu, cpu_busy,
	memory, memory_busy, disk, disk_day, net_kb, io_kb, backup) VALUES
	('edge-1',    'platform', 'day',     2,  3936,  40, 211,  4, 26, 31,  6,   22, 0.1, 5200,   120,  0),
	('web-1',     'web',      'day',     4,  7950,  80,  63,  6, 48, 44, 12,   38, 0.4, 2600,   340,  3),
	('web-2',     'web',      'day',     4,  7950,  80,  63,  6, 46, 43, 12,   36, 0.4, 2500,   330,  3),
	('api-1',     'shop',     'day',     8, 15990, 160,  34,  5, 41, 52,  9,   47, 0.5, 1900,   800,  2),
	('db-1',      'platform', 'day',    16, 64240, 960, 128,  8, 37, 71,  4,   61, 0.6, 3100, 14000, 31),
	('db-2',      'platform', 'day',    16, 64240, 480, 128,  5, 14, 66,  3, 95.9, 3.1, 1500,  9500, 18),
	('cache-1',   'platform', 'day',     2, 15990,  40,  97,  3, 17, 83,  3,   18, 0.0, 2200,    60,  0),
	('worker-1',  'shop',     'hour',    8, 15990, 160,  20, 11, 58, 39, 14,   52, 0.7,  900,  2600,  4),
	('worker-2',  'shop',     'hour',    8, 15990, 160,  20, 10, 55, 38, 13,   49, 0.7,  880,  2500,  4),
	('batch-1',   'finance',  'night',   4, 31990, 320,  45,  2, 78, 24, 41,   66, 0.9,  700, 11000,  9),
	('staging-1', 'web',      'office',  2,  3936,  40,   9,  5, 33, 57, 11,   74, 0.8,  220,   400,  0);
UPDATE host SET environment = 'staging' WHERE vps_name = 'staging-1';

-- every_s: how often its agent reports. cpu: percent of a core when busy. silent: how long before the
-- start of the demo the agent reported for the last time; NULL: it still does.
CREATE TABLE app (
	vps_name text, app_name text, cycle text, every_s int, cpu float8, memory_mb float8, log text,
	silent interval, PRIMARY KEY (vps_name, app_name)
);
INSERT INTO app VALUES
	('edge-1',    'proxy',      'day',    60,  38,   240, '/var/log/nginx/access.log', NULL),
	('web-1',     'storefront', 'day',    60, 160,  1900, '/srv/storefront/app.log', NULL),
	('web-2',     'storefront', 'day',    60, 150,  1850, '/srv/storefront/app.log', NULL),
	('api-1',     'api',        'day',    60, 230,  4100, '/srv/api/app.log', NULL),
	('api-1',     'auth',       'day',    60,  60,   620, '/srv/auth/app.log', NULL),
	('db-1',      'postgres',   'day',    60, 520, 38000, '/var/log/postgresql/main.log', NULL),
	('db-2',      'postgres',   'day',    60, 190, 34000, '/var/log/postgresql/main.log', NULL),
	('cache-1',   'redis',      'day',    60,  24, 11800, '/var/log/redis/redis-server.log', NULL),
	('worker-1',  'worker',     'hour',   60, 410,  3300, '/srv/worker/app.log', NULL),
	('worker-2',  'worker',     'hour',   60, 400,  3200, '/srv/worker/app.log', '2:14'),
	('batch-1',   'billing',    'night',  60, 290,  9800, '/srv/billing/app.log', NULL),
	('batch-1',   'reports',    'night', 900,  90,  2100, '/srv/reports/app.log', '52 min'),
	('staging-1', 'preview',    'office', 60,  50,   900, '/srv/preview/app.log', NULL);

-- ---- incidents: what is added to a metric of a server for a time ----------------------------------
-- ramp: the amount grows from nothing.
CREATE TABLE incident (
	vps_name text, metric text, from_ago interval, to_ago interval, amount float8, ramp boolean
);
INSERT INTO incident VALUES
	('api-1',    'cpu',    '38 min',        '21 min',        34, false),    -- release 3.9.0 of the API
	('db-1',     'cpu',    '38 min',        '21 min',        12, false),
	('worker-2', 'memory', '11 hours',      '2:14',          51, true),     -- a leak, to the end
	('worker-2', 'io',     '3 hours',       '2:14',          38, true),
	('worker-1', 'cpu',    '2:10',          '-1 year',       17, false),    -- it works for both
	('db-1',     'cpu',    '3 days 2:00',   '3 days 1:46',   44, true),     -- too many connections
	('db-1',     'io',     '3 days 2:00',   '3 days 1:46',   27, false),
	('db-2',     'io',     '7 hours',       '-1 year',        6, false),
	('edge-1',   'cpu',    '5 days 4:00',   '5 days 3:10',   22, false),    -- a sale
	('web-1',    'cpu',    '5 days 4:00',   '5 days 3:10',   31, false),
	('web-2',    'cpu',    '5 days 4:00',   '5 days 3:10',   30, false),
	('cache-1',  'memory', '5 days 4:00',   '5 days 3:10',    9, true);

-- ---- checks, and when they fail ------------------------------------------------------------------
-- cert_days: how long the certificate is still valid.
CREATE TABLE probe (
	vps_name text, app_name text, url text PRIMARY KEY, every_s int, ms float8, cert_days int
);
INSERT INTO probe VALUES
	('edge-1',    'proxy',      'https://shop.example/',                   300,  74,    9),
	('edge-1',    'proxy',      'https://static.shop.example/logo.svg',    600,  31,   71),
	('web-1',     'storefront', 'http://web-1.shop.example:8080/health',   300,  12, NULL),
	('web-2',     'storefront', 'http://web-2.shop.example:8080/health',   300,  12, NULL),
	('api-1',     'api',        'https://api.shop.example/v2/health',      120,  38,   71),
	('api-1',     'auth',       'https://login.shop.example/health',       300,  29,   44),
	('worker-1',  'worker',     'http://worker-1.shop.example:9100/ready', 300,   4, NULL),
	('worker-2',  'worker',     'http://worker-2.shop.example:9100/ready', 300,   4, NULL),
	('batch-1',   'billing',    'https://payments.example/v1/ping',        600, 190,   33),
	('staging-1', 'preview',    'https://preview.shop.example/',           300,  96,   58);

-- chance: that a check in this time fails. ms: how long it takes then.
CREATE TABLE failure (
	url text, from_ago interval, to_ago interval, chance float8, status int, class text, message text,
	ms float8
);
INSERT INTO failure VALUES
	('https://preview.shop.example/', '5:10', '-1 year', 1, 502, 'status',
		'Status 502 is not an expected one.', 41),
	('https://api.shop.example/v2/health', '38 min', '21 min', 0.7, 500, 'status',
		'Status 500 is not an expected one.', 212),
	('https://api.shop.example/v2/health', '3 days 1:58', '3 days 1:46', 1, NULL, 'timeout',
		'Connected, but no answer within 5 s.', 5000),
	('https://shop.example/', '3 days 1:57', '3 days 1:46', 1, 503, 'status',
		'Status 503 is not an expected one.', 1310),
	('http://worker-2.shop.example:9100/ready', '2:40', '2:14', 1, NULL, 'timeout',
		'Connected, but no answer within 5 s.', 5000),
	('https://payments.example/v1/ping', '1 year', '-1 year', 0.006, NULL, 'timeout',
		'Connected, but no answer within 5 s.', 5000);

-- ---- log lines -----------------------------------------------------------------------------------
-- A scene is a few lines that belong together. In each span of `every` it happens once, with the chance
-- that busy() gives. Without `every` it happens once, at from_ago.
CREATE TABLE scene (scene text PRIMARY KEY, every interval, cycle text, from_ago interval, to_ago interval);
INSERT INTO scene VALUES
	('browse',         '25 s',    'day',    '1 year', '-1 year'),
	('login',          '1 min',   'day',    '1 year', '-1 year'),
	('wrong password', '5 min',   'day',    '1 year', '-1 year'),
	('checkout',       '90 s',    'day',    '1 year', '-1 year'),
	('card retried',   '9 min',   'day',    '1 year', '-1 year'),
	('card failed',    '35 min',  'day',    '1 year', '-1 year'),
	('not found',      '6 min',   'day',    '1 year', '-1 year'),
	('slow query',     '10 min',  'day',    '1 year', '-1 year'),
	('checkpoint',     '5 min',   'always', '1 year', '-1 year'),
	('eviction',       '15 min',  'day',    '1 year', '-1 year'),
	('snapshot',       '15 min',  'always', '1 year', '-1 year'),
	('job',            '45 s',    'hour',   '1 year', '-1 year'),
	('job retried',    '12 min',  'hour',   '1 year', '-1 year'),
	('job given up',   '90 min',  'hour',   '1 year', '-1 year'),
	('invoices',       '3 min',   'night',  '1 year', '-1 year'),
	('report',         '40 min',  'night',  '1 year', '-1 year'),
	('preview',        '2 min',   'office', '1 year', '-1 year'),
	('preview down',   '150 s',   'always', '5:10',   '-1 year'),
	('archive full',   '10 min',  'always', '7:00',   '-1 year'),
	('leak',           '15 min',  'always', '4:00',   '2:20'),
	('leak ends',      NULL,      NULL,     '2:15',   NULL),
	('report stalls',  NULL,      NULL,     '58 min', NULL),
	('release 3.9.0',  NULL,      NULL,     '38 min', NULL),
	('release fails',  '7 s',     'always', '37 min', '21 min'),
	('rollback',       NULL,      NULL,     '21 min', NULL),
	('release 2.14.0', NULL,      NULL,     '1 day 3:25',  NULL),
	('connections',    '4 s',     'always', '3 days 2:00', '3 days 1:46'),
	('release 3.8.2',  NULL,      NULL,     '4 days 5:40', NULL),
	('sale',           '4 s',     'always', '5 days 4:00', '5 days 3:10');

-- vps_name: NULL: one of the application's servers. after_ms: since the scene began. fill() replaces
-- {user}, {order} and their like; the lines of one scene get the same values.
CREATE TABLE line (
	scene text REFERENCES scene, after_ms int, app_name text, vps_name text, level text, logger text,
	message text, context text
);
INSERT INTO line VALUES
	('browse', 0, 'proxy', NULL, 'INFO', 'access',
		'GET {path} 200',
		'{"ip": "{ip}", "status": 200, "ms": {ms}, "bytes": {bytes}, "trace_id": "{trace}"}'),
	('browse', 9, 'storefront', NULL, 'INFO', 'http',
		'page rendered',
		'{"path": "{path}", "ms": {ms}, "trace_id": "{trace}"}'),
	('login', 0, 'auth', NULL, 'INFO', 'sessions',
		'user signed in',
		'{"user": "{user}", "ip": "{ip}", "method": "password", "trace_id": "{trace}"}'),
	('wrong password', 0, 'auth', NULL, 'WARNING', 'sessions',
		'wrong password for {user}',
		'{"user": "{user}", "ip": "{ip}", "attempt": {few}}'),
	('checkout', 0, 'storefront', NULL, 'INFO', 'checkout',
		'checkout started',
		'{"user": "{user}", "items": {few}, "trace_id": "{trace}"}'),
	('checkout', 120, 'api', NULL, 'INFO', 'orders',
		'order placed',
		'{"order_id": {order}, "user": "{user}", "total": {amount}, "trace_id": "{trace}"}'),
	('checkout', 640, 'api', NULL, 'INFO', 'payments',
		'payment accepted',
		'{"order_id": {order}, "amount": {amount}, "ms": {ms}, "trace_id": "{trace}"}'),
	('checkout', 700, 'proxy', NULL, 'INFO', 'access',
		'POST /checkout 201',
		'{"ip": "{ip}", "status": 201, "ms": {ms}, "bytes": {bytes}, "trace_id": "{trace}"}'),
	('checkout', 4200, 'worker', NULL, 'INFO', 'jobs',
		'receipt sent',
		'{"job": "send_receipt", "order_id": {order}, "ms": {ms}, "trace_id": "{trace}"}'),
	('card retried', 0, 'api', NULL, 'WARNING', 'payments',
		'payment provider did not answer, trying again',
		'{"order_id": {order}, "attempt": 1, "error": "timeout after 4 s", "trace_id": "{trace}"}'),
	('card retried', 4300, 'api', NULL, 'INFO', 'payments',
		'payment accepted',
		'{"order_id": {order}, "amount": {amount}, "attempt": 2, "trace_id": "{trace}"}'),
	('card failed', 0, 'api', NULL, 'ERROR', 'payments',
		E'payment of order {order} failed after 3 attempts\n'
		'Traceback (most recent call last):\n'
		'  File "/opt/deployments/api/current/payments/card.py", line 118, in charge\n'
		'    answer = self.provider.post("/charges", body, timeout=4)\n'
		'  File "/opt/deployments/api/current/payments/provider.py", line 61, in post\n'
		'    raise GatewayTimeout(url, timeout)\n'
		'payments.errors.GatewayTimeout: https://payments.example/v1/charges: no answer within 4 s',
		'{"order_id": {order}, "user": "{user}", "amount": {amount}, "trace_id": "{trace}"}'),
	('card failed', 30, 'proxy', NULL, 'ERROR', 'access',
		'POST /checkout 502',
		'{"ip": "{ip}", "status": 502, "ms": 12040, "bytes": 312, "trace_id": "{trace}"}'),
	('not found', 0, 'proxy', NULL, 'WARNING', 'access',
		'GET /products/{order}/reviews 404',
		'{"ip": "{ip}", "status": 404, "ms": {ms}, "bytes": 512, "trace_id": "{trace}"}'),
	('slow query', 0, 'postgres', 'db-1', 'WARNING', 'postgres',
		'duration: {slow} ms  statement: SELECT o.id, o.total FROM orders o '
		'JOIN customers c ON c.id = o.customer_id WHERE c.name ILIKE $1',
		'{"user": "api", "database": "shop", "pid": {order}}'),
	('checkpoint', 0, 'postgres', 'db-1', 'INFO', 'postgres',
		'checkpoint complete: wrote {bytes} buffers (4.1%); 0 WAL file(s) added, 0 removed, '
		'12 recycled; write=269.7 s, sync=0.004 s, total=269.8 s', NULL),
	('checkpoint', 900, 'postgres', 'db-2', 'INFO', 'postgres',
		'restartpoint complete: wrote {bytes} buffers (3.7%)', NULL),
	('eviction', 0, 'redis', NULL, 'WARNING', 'memory',
		'memory limit of 12 GB reached, {bytes} keys evicted',
		'{"policy": "allkeys-lru"}'),
	('snapshot', 0, 'redis', NULL, 'INFO', 'persistence',
		'Background saving started by pid {order}', NULL),
	('snapshot', 8100, 'redis', NULL, 'INFO', 'persistence',
		'Background saving terminated with success', NULL),
	('job', 0, 'worker', NULL, 'INFO', 'jobs',
		'job done',
		'{"job": "{job}", "job_id": {order}, "ms": {slow}, "attempt": 1}'),
	('job retried', 0, 'worker', NULL, 'WARNING', 'jobs',
		'job {job} failed, trying again in 30 s',
		'{"job": "{job}", "job_id": {order}, "attempt": 1, "error": "lock wait timeout"}'),
	('job retried', 30000, 'worker', NULL, 'INFO', 'jobs',
		'job done',
		'{"job": "{job}", "job_id": {order}, "ms": {slow}, "attempt": 2}'),
	('job given up', 0, 'worker', NULL, 'ERROR', 'jobs',
		E'job resize_images given up after 5 attempts\n'
		'java.lang.IllegalStateException: no image for product {order}\n'
		'\tat example.shop.jobs.Thumbnails.render(Thumbnails.java:88)\n'
		'\tat example.shop.jobs.Runner.run(Runner.java:41)\n'
		'Caused by: java.io.FileNotFoundException: /srv/images/{order}/original.jpg',
		'{"job": "resize_images", "job_id": {order}, "attempts": 5}'),
	('invoices', 0, 'billing', NULL, 'INFO', 'invoices',
		'invoices written',
		'{"customers": {bytes}, "ms": {slow}, "currency": "EUR"}'),
	('invoices', 2000, 'billing', NULL, 'DEBUG', 'invoices',
		'skipped {few} customers without orders', NULL),
	('report', 0, 'reports', NULL, 'INFO', 'reports',
		'report revenue-by-country written',
		'{"rows": {bytes}, "ms": {slow}}'),
	('report stalls', 0, 'reports', NULL, 'INFO', 'reports',
		'report lifetime-value: reading 48112907 rows', NULL),
	('preview', 0, 'preview', NULL, 'DEBUG', 'templates',
		'template {path} compiled',
		'{"ms": {ms}, "branch": "feature/gift-cards"}'),
	('preview', 300, 'preview', NULL, 'INFO', 'http',
		'page rendered',
		'{"path": "{path}", "ms": {ms}}'),
	('preview down', 0, 'preview', NULL, 'ERROR', 'server',
		'cannot listen on 127.0.0.1:8080: Address already in use',
		'{"errno": 98, "branch": "feature/gift-cards", "restarts": {few}}'),
	('archive full', 0, 'postgres', 'db-2', 'ERROR', 'postgres',
		'archive command failed with exit code 1: cp: error writing '
		'''/srv/archive/0000000100000A2F{few}'': No space left on device', NULL),
	('leak', 0, 'worker', 'worker-2', 'WARNING', 'memory',
		'memory is short, thumbnails wait',
		'{"queue": "thumbnails", "waiting": {bytes}}'),
	('leak ends', 0, 'worker', 'worker-2', 'CRITICAL', 'memory',
		'cannot allocate 64 MB for job resize_images: Cannot allocate memory',
		'{"job": "resize_images", "errno": 12}'),
	('release 3.9.0', 0, 'api', NULL, 'INFO', 'deploy',
		'release 3.9.0 deployed',
		'{"release": "3.9.0", "from": "3.8.2", "by": "Zoë Müller"}'),
	('release fails', 0, 'api', NULL, 'ERROR', 'orders',
		E'TypeError: unsupported operand type(s) for +: \'Decimal\' and \'NoneType\'\n'
		'Traceback (most recent call last):\n'
		'  File "/opt/deployments/api/current/orders/views.py", line 204, in place\n'
		'    total = cart.total(voucher)\n'
		'  File "/opt/deployments/api/current/orders/cart.py", line 77, in total\n'
		'    return self.subtotal + voucher.discount',
		'{"release": "3.9.0", "user": "{user}", "trace_id": "{trace}"}'),
	('release fails', 25, 'storefront', NULL, 'WARNING', 'checkout',
		'the API answered 500, order kept in the cart',
		'{"user": "{user}", "status": 500, "trace_id": "{trace}"}'),
	('release fails', 30, 'proxy', NULL, 'ERROR', 'access',
		'POST /checkout 500',
		'{"ip": "{ip}", "status": 500, "ms": {ms}, "bytes": 312, "trace_id": "{trace}"}'),
	('rollback', 0, 'api', NULL, 'WARNING', 'deploy',
		'release 3.9.0 rolled back to 3.8.2',
		'{"release": "3.8.2", "from": "3.9.0", "by": "Zoë Müller"}'),
	('release 2.14.0', 0, 'storefront', 'web-1', 'INFO', 'deploy',
		'release 2.14.0 deployed',
		'{"release": "2.14.0", "from": "2.13.5", "by": "田中 葵"}'),
	('release 2.14.0', 9000, 'storefront', 'web-2', 'INFO', 'deploy',
		'release 2.14.0 deployed',
		'{"release": "2.14.0", "from": "2.13.5", "by": "田中 葵"}'),
	('connections', 0, 'api', NULL, 'CRITICAL', 'db',
		'cannot connect to db-1:5432: FATAL: sorry, too many clients already',
		'{"sqlstate": "53300", "pool": "primary", "trace_id": "{trace}"}'),
	('connections', 40, 'proxy', NULL, 'ERROR', 'access',
		'GET {path} 503',
		'{"ip": "{ip}", "status": 503, "ms": {slow}, "bytes": 180, "trace_id": "{trace}"}'),
	('release 3.8.2', 0, 'api', NULL, 'INFO', 'deploy',
		'release 3.8.2 deployed',
		'{"release": "3.8.2", "from": "3.8.1", "by": "Zoë Müller"}'),
	('sale', 0, 'proxy', NULL, 'INFO', 'access',
		'GET /sale 200',
		'{"ip": "{ip}", "status": 200, "ms": {ms}, "bytes": {bytes}, "trace_id": "{trace}"}');

-- ---- alerts --------------------------------------------------------------------------------------
-- When the rules are evaluated for the past: around what happens, since a whole week would take minutes.
CREATE TABLE judged (from_ago interval, to_ago interval, every interval);
INSERT INTO judged VALUES
	('3 days 2:05', '3 days 1:25', '2 min'),        -- too many connections
	('1 day 18:00', '1 day 17:00', '1 hour'),       -- a disk that fills
	('7:00',        '45 min',      '15 min'),
	('45 min',      '0 min',       '3 min');        -- the release of the API

-- What people did about them.
CREATE TABLE acknowledged (rule text, vps_name text, ago interval, by text, note text);
INSERT INTO acknowledged VALUES
	('Disk full', 'db-2', '1 day 2:10', 'zoe@shop.example', 'The archive moves to the new disk tonight.');

CREATE TABLE silenced (match jsonb, from_ago interval, to_ago interval, by text, note text);
INSERT INTO silenced VALUES
	('[{"label": "environment", "op": "=", "value": "staging"}]', '4:50', '-20:00', 'aoi@shop.example',
		'Gift cards are being rebuilt, the preview may be down.');

-- Nobody shall take one of them for a real server.
UPDATE host SET vps_name = vps_name || '.simulated';
UPDATE app SET vps_name = vps_name || '.simulated';
UPDATE incident SET vps_name = vps_name || '.simulated';
UPDATE probe SET vps_name = vps_name || '.simulated';
UPDATE acknowledged SET vps_name = vps_name || '.simulated';
UPDATE line SET vps_name = vps_name || '.simulated';
