/*
 * config_text.h - for tests of the configuration: a text that sets each key, and reading one.
 */
#ifndef TESTS_CONFIG_TEXT_H
#define TESTS_CONFIG_TEXT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "obs_agent/config/config.h"

/* Each key, in its less usual forms. */
static const char all_keys[] =
	"monitoring:\n"
	"  enabled: YES                            # comments are fine\n"
	"  postgres_url: \"host=db password='it\\\\'s ${SECRET}' dbname=observ\"\n"
	"  vps_name: web-1\n"
	"  collection_interval: 5m\n"
	"  app_unit: 'worker@{app}.service'\n"
	"  log_level: Debug\n"
	"  health_checks:\n"
	"    - https://a.example/health?q=1\n"
	"    - url: http://user:${SECRET}@b.example:8080/\n"
	"      interval: 30\n"
	"      timeout: 2s\n"
	"      method: post\n"
	"      expect_status: [204, \"300-399, 418\"]\n"
	"      expect_body: |\n"
	"        two\n"
	"        lines\n"
	"      headers: {Authorization: \"Bearer ${SECRET}\", X-Empty: '-'}\n"
	"      retries: 0\n"
	"      retry_interval: 1m30s\n"
	"      max_redirects: 3\n"
	"      verify_tls: off\n"
	"    - {url: \"http://[::1]:80/\", interval: 3}\n"
	"  log_files:\n"
	"    - /var/log/{app}/*.log\n"
	"    - \"/opt/deployments/{app}/current/{app}.log\"\n"
	"    - path: /srv/{app}.log\n"
	"      format: RAW\n"
	"      timezone: Asia/Kolkata\n"
	"      multiline_start: '^\\[[0-9]+\\]'\n"
	"      warn_4xx: yes\n"
	"  log_timezone: Europe/Berlin\n";

/* The configuration of application my-app from a text that must be valid. */
static struct config parsed(const char *yaml)
{
	struct config c;
	struct config_mistakes m;

	setenv("SECRET", "hunter2", 1);
	if (config_parse("a.yml", "my-app", text_of(yaml), &c, &m) < 0)
		fail_msg("%s", m.e[0].msg);
	return c;
}

/* The text of a file; the caller frees it. */
static char *read_file(const char *path)
{
	CLEANUP(fclose_p) FILE *in = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	if (!in)
		fail_msg("%s: %s (run from the top of the tree)", path, strerror(errno));
	assert_true(fread(text, 1, (1 << 20) - 1, in) > 0);
	return text;
}

#endif
