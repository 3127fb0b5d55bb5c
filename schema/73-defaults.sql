-- ==== 73-defaults: the rules that are there from the start ======================================
-- They judge all servers, also those that come later. People change, patch and delete them as any other rule.
-- An upgrade changes a rule only where it still is as an older schema.sql made it, and does not bring back
-- one that was deleted: default_rules remembers what was made.
CREATE TABLE IF NOT EXISTS default_rules (
	builtin text PRIMARY KEY,
	made jsonb NOT NULL                     -- the columns that it was made with
);
GRANT SELECT ON default_rules TO observ_hub, observ_watch;

-- A window holds any number of samples, so a rule with a window waits as well (for_s): the first samples of a
-- new server raise no alert. On a server with a history, window and wait together are the time that it takes.
CREATE OR REPLACE FUNCTION wanted_defaults() RETURNS TABLE (builtin text, rule jsonb)
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT key, value FROM jsonb_each('{
	"cpu": {"name": "CPU busy", "kind": "threshold", "metric": "cpu_percent",
		"params": {"agg": "avg", "window_s": 300}, "warning": 85, "warning_clear": 75, "critical": 95,
		"critical_clear": 85, "for_s": 300,
	"summary": "All cores are busy for minutes. top shows by what."},
	"iowait": {"name": "CPU waits for disks", "kind": "threshold", "metric": "cpu_iowait_percent",
		"params": {"agg": "avg", "window_s": 300}, "warning": 20, "warning_clear": 10, "for_s": 300,
	"summary": "The CPU waits for disks for minutes. pidstat -d 5 shows who reads and writes."},
	"steal": {"name": "CPU taken by the hypervisor", "kind": "threshold", "metric": "cpu_steal_percent",
		"params": {"agg": "avg", "window_s": 300}, "warning": 10, "warning_clear": 5, "for_s": 300,
	"summary": "The hypervisor gives the CPU to other machines for minutes. Ask who runs it."},
	"memory": {"name": "Memory full", "kind": "threshold", "metric": "memory_percent",
		"params": {"agg": "avg", "window_s": 180}, "warning": 90, "warning_clear": 80, "critical": 98,
		"critical_clear": 90, "for_s": 120,
	"summary": "New programs get little memory. top -o %MEM shows who has it."},
	"swap": {"name": "Swap full", "kind": "threshold", "metric": "swap_percent",
		"params": {"agg": "avg", "window_s": 300}, "warning": 80, "warning_clear": 60, "for_s": 300,
	"summary": "Most of the swap is used: memory is short. top -o %MEM shows who has it."},
	"disk": {"name": "Disk full", "kind": "threshold", "metric": "mount_percent", "warning": 90,
		"warning_clear": 80, "critical": 98, "critical_clear": 90,
	"summary": "A file system has little space left. du -xh MOUNT | sort -h shows what is large."},
	"disk_24h": {"name": "Disk full in 24 hours", "kind": "threshold", "metric": "mount_percent",
		"params": {"agg": "predict", "rows": "1h", "window_s": 21600, "ahead_s": 86400}, "op": ">=",
		"warning": 100, "warning_clear": 95, "for_s": 1800, "interval_s": 300,
		"summary": "At this pace the file system is full within a day. Find what grows."},
	"disk_4h": {"name": "Disk full in 4 hours", "kind": "threshold", "metric": "mount_percent",
		"params": {"agg": "predict", "rows": "5m", "window_s": 3600, "ahead_s": 14400}, "op": ">=",
		"critical": 100, "critical_clear": 95, "for_s": 600, "interval_s": 300,
		"summary": "At this pace the file system is full within 4 hours. Find what grows."},
	"inodes": {"name": "Inodes used up", "kind": "threshold", "metric": "mount_inode_percent",
		"warning": 90,
		"warning_clear": 80,
	"summary": "A file system can hold few more files. Look for folders with very many small ones."},
	"load": {"name": "Load high", "kind": "threshold", "metric": "load_per_core",
		"params": {"agg": "avg", "window_s": 300}, "warning": 2, "warning_clear": 1.75, "for_s": 300,
	"summary": "More than two tasks wait or run for each core. vmstat 5 shows for what."},
	"check": {"name": "Check down", "kind": "check", "params": {"of": 3, "recover": 2}, "op": ">=",
		"critical": 3,
		"critical_clear": 0, "interval_s": 30, "summary": "The last three tries of a check failed."},
	"check_slow": {"name": "Check slow", "kind": "check_slow", "params": {"percent": 95, "window_s": 900},
		"warning": 2000, "warning_clear": 1500, "interval_s": 300,
		"summary": "One in twenty answers took longer than two seconds."},
	"certificate": {"name": "Certificate expires", "kind": "certificate", "params": {"measure": "days"},
		"op": "<",
		"warning": 14, "critical": 7, "interval_s": 3600, "lookback_s": 86400,
		"summary": "A certificate expires soon. Renew it, and reload the server that uses it."},
	"certificate_life": {"name": "Short-lived certificate expires", "kind": "certificate",
		"params": {"measure": "life"}, "op": "<", "warning": 33.3, "critical": 16.7,
			"interval_s": 600,
		"lookback_s": 86400,
	"summary": "A certificate that lives short was not renewed in time. Look at what renews it."},
	"agent": {"name": "Agent silent", "kind": "agent_state", "op": ">=", "warning": 1, "critical": 2,
		"labels": {"mutes": "app"},
	"summary": "The database does not hear from an agent. See systemctl status ''obs-agent@*'' there."},
	"fleet": {"name": "Nothing arrives", "kind": "fleet_silent", "critical": 180,
	"summary": "No agent of the fleet is heard: the fault is at the database or its network."},
	"skew": {"name": "Clock wrong", "kind": "threshold", "metric": "agent_skew_s", "warning": 5,
		"critical": 60,
	"summary": "The clock of a server differs from that of the database. timedatectl shows why."},
	"reboot": {"name": "Server rebooted", "kind": "threshold", "metric": "uptime_s",
		"params": {"agg": "resets", "window_s": 900}, "op": ">=", "warning": 1,
	"summary": "A server booted in the last 15 minutes. journalctl -b -1 -e shows its last words."},
	"errors": {"name": "Many errors in the log", "kind": "log_share", "params": {"query": "level>=error",
		"tree": {"levels": ["ERROR", "CRITICAL"]}, "window_s": 600, "min_lines": 50}, "warning": 10,
		"warning_clear": 5, "critical": 50, "critical_clear": 25,
	"summary": "A large part of the lines of an application are errors."},
	"pattern": {"name": "New error message", "kind": "new_pattern", "op": ">=", "warning": 1,
		"no_data": "ok",
		"summary": "An application logs an error that it never logged before."},
	"lost": {"name": "Data lost", "kind": "loss", "params": {"what": "gaps"}, "warning": 0,
	"summary": "Lines or samples of an agent were lost. Its server''s page says which."},
	"rejected": {"name": "Data refused", "kind": "loss", "params": {"what": "rejects"}, "warning": 0,
	"summary": "The database refused rows of an agent. The table rejects has them, with the reason."},
	"lag": {"name": "Delivery late", "kind": "threshold", "metric": "agent_lag_s", "warning": 300,
		"warning_clear": 60, "critical": 3600, "critical_clear": 300, "for_s": 300,
	"summary": "An agent is behind with its log files. Its server''s page shows which."},
	"maintain": {"name": "maintain() not run", "kind": "job", "params": {"job": "maintain"},
		"warning": 36,
		"interval_s": 600,
	"summary": "Old rows stay, new partitions are not made. See systemctl status observ-maintain."},
	"rule": {"name": "Alert rule fails", "kind": "rule_error", "op": ">=", "warning": 1,
		"summary": "A rule fails: its page says why. The others are evaluated."},
	"heartbeat": {"name": "Job not run", "kind": "heartbeat", "critical": 0,
		"summary": "A job did not report in time, or failed. Look at its own log."}}')
$$;

-- p as a whole rule: what it leaves out has the defaults of the table.
CREATE OR REPLACE FUNCTION whole_rule(p_builtin text, p jsonb) RETURNS alert_rules
LANGUAGE sql STABLE SET search_path = observ, pg_catalog, pg_temp AS $$
	SELECT jsonb_populate_record(NULL::alert_rules, '{"params": {}, "match": [], "op": ">", "for_s": 0,
		"keep_firing_s": 0, "no_data": "keep", "on_error": "keep", "interval_s": 60,
			"lookback_s": 300,
		"labels": {}, "summary": "", "runbook": "", "is_active": true}'::jsonb || p
		|| jsonb_build_object('builtin', p_builtin))
$$;

-- What of a rule an upgrade may change: what schema.sql made, as jsonb.
CREATE OR REPLACE FUNCTION rule_made(r alert_rules) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT to_jsonb(r) - '{rule_id,version,created_at,created_by,updated_at}'::text[]
$$;

-- Makes the rules that were never made, and renews those that nobody changed. Returns how many.
CREATE OR REPLACE FUNCTION make_default_rules() RETURNS bigint
LANGUAGE plpgsql SET search_path = observ, pg_catalog, pg_temp AS $$
DECLARE
	d record;
	w alert_rules;
	ret bigint := 0;
BEGIN
	FOR d IN SELECT n.builtin, n.rule, o.made FROM wanted_defaults() n LEFT JOIN default_rules o USING
		(builtin)
			ORDER BY 1 LOOP
		w := whole_rule(d.builtin, d.rule);
		CONTINUE WHEN d.made = rule_made(w);
		IF d.made IS NULL THEN
			INSERT INTO alert_rules (name, builtin, kind, metric, params, match, op, warning,
				warning_clear, critical, critical_clear, for_s, keep_firing_s, no_data,
					on_error,
				interval_s, lookback_s, labels, summary, runbook, is_active, created_by)
			VALUES (w.name, w.builtin, w.kind, w.metric, w.params, w.match, w.op, w.warning,
				w.warning_clear, w.critical, w.critical_clear, w.for_s, w.keep_firing_s,
					w.no_data,
				w.on_error, w.interval_s, w.lookback_s, w.labels, w.summary, w.runbook,
					w.is_active,
				'schema.sql')
			ON CONFLICT DO NOTHING;         -- somebody has a rule of this name
		ELSE
			UPDATE alert_rules r SET (name, kind, metric, params, match, op, warning,
				warning_clear,
				critical, critical_clear, for_s, keep_firing_s, no_data, on_error, interval_s,
				lookback_s, summary) = (w.name, w.kind, w.metric, w.params, w.match, w.op,
					w.warning,
				w.warning_clear, w.critical, w.critical_clear, w.for_s, w.keep_firing_s,
					w.no_data,
				w.on_error, w.interval_s, w.lookback_s, w.summary), version = r.version + 1
				WHERE r.builtin = d.builtin AND rule_made(r) = d.made
					AND NOT EXISTS (SELECT FROM alert_rules o WHERE o.name = w.name
						AND o.builtin IS DISTINCT FROM d.builtin);
		END IF;
		INSERT INTO default_rules VALUES (d.builtin, rule_made(w))
			ON CONFLICT (builtin) DO UPDATE SET made = excluded.made;
		ret := ret + 1;
	END LOOP;
	RETURN ret;
END
$$;

SELECT drop_former_functions() \g /dev/null
SELECT make_default_rules() \g /dev/null

