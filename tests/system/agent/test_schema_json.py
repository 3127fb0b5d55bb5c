"""The JSON Schema of the configuration and the shell completion match what the agent accepts."""
import json
import re
import subprocess

import jsonschema
import pytest
from harness import AGENT, TOP, run

yaml = pytest.importorskip("yaml")
SCHEMA = json.loads((TOP / "templates/obs_agent.schema.json").read_text())
URL = "postgres://u:p@h/d"
GOOD = [
    {"monitoring": {}, "other": {"tool": [1, 2]}},
    {"monitoring": {"enabled": True, "postgres_url": URL}},
    {"monitoring": {"enabled": "yes", "postgres_url": "host=h dbname=d"}},
    {"monitoring": {"postgres_url": URL, "collection_interval": "1h30m"}},
    {"monitoring": {"collection_interval": "90", "log_lines_per_second": 5, "log_level": "INFO"}},
    {"monitoring": {"vps_name": 7, "app_unit": "a.service"}},
    {"monitoring": {"log_files": ["/a/*.log", "/b/{app}.log"]}},
    {"monitoring": {"log_timezone": "Europe/Berlin",
                    "log_files": ["/a.log", {"path": "/b.log", "format": "raw", "timezone": "Asia/Kolkata",
                                             "multiline_start": "^[0-9]", "warn_4xx": True}]}},
    {"monitoring": {"health_checks": ["http://h/", {"url": "HTTPS://h/", "expect_status": [200, "300-399"],
                                                    "method": "get",
                                                   "headers": {"X-A": 1}, "verify_tls": False,
                                                    "retries": 0}]}},
    {"monitoring": {"health_checks": [{"url": "http://h/", "expect_status": "200, 204,300-399",
                                       "timeout": 3}]}},
]
BAD = [
    [], {"monitoring": []},
    {"monitoring": {"enabled": True}},
    {"monitoring": {"enabled": 3}},
    {"monitoring": {"enabled": "maybe"}},
    {"monitoring": {"collection_interval": 5}},
    {"monitoring": {"collection_interval": "60 s"}},
    {"monitoring": {"collection_intervall": 60}},
    {"monitoring": {"log_level": "verbose"}},
    {"monitoring": {"log_lines_per_second": -1}},
    {"monitoring": {"log_files": "/a.log"}},
    {"monitoring": {"log_files": ["a.log"]}},
    {"monitoring": {"log_files": ["/a/"]}},
    {"monitoring": {"log_files": [{"path": "a.log"}]}},
    {"monitoring": {"log_files": [{"format": "raw"}]}},
    {"monitoring": {"log_files": [{"path": "/a", "format": "json"}]}},
    {"monitoring": {"log_files": [{"path": "/a", "color": 1}]}},
    {"monitoring": {"log_timezone": "Europe Berlin"}},
    {"monitoring": {"log_files": ["/a", "/a"]}},
    {"monitoring": {"health_checks": ["ftp://h/"]}},
    {"monitoring": {"health_checks": [{"timeout": 3}]}},
    {"monitoring": {"health_checks": [{"url": "http://h/", "retries": 11}]}},
    {"monitoring": {"health_checks": [{"url": "http://h/", "expect_status": 99}]}},
    {"monitoring": {"health_checks": [{"url": "http://h/", "headers": {"a b": "c"}}]}},
    {"monitoring": {"health_checks": [{"url": "http://h/", "method": "FETCH"}]}},
]


def agent_takes(tmp_path, config):
    """JSON is YAML."""
    path = tmp_path / "config.yml"
    path.write_text(json.dumps(config))
    return subprocess.run([AGENT, "--app", "a", "--config", path, "--check-config"],
                          capture_output=True).returncode == 0


def test_the_schema_is_valid():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("config", GOOD + BAD, ids=json.dumps)
def test_schema_and_agent_accept_the_same(tmp_path, config):
    assert agent_takes(tmp_path, config) == (config in GOOD)
    assert jsonschema.Draft7Validator(SCHEMA).is_valid(config) == (config in GOOD)


@pytest.mark.parametrize("text", ["${A}", "x${A}y"])
@pytest.mark.parametrize("key", ["enabled", "collection_interval", "log_level", "postgres_url", "vps_name",
                                 "log_lines_per_second"])
def test_a_variable_may_stand_anywhere(key, text):
    jsonschema.Draft7Validator(SCHEMA).validate({"monitoring": {key: text}})


def test_the_configurations_in_the_tree_are_valid():
    shown = [(TOP / "examples/shop/config.yml").read_text()]
    for page in ("docs/operating.md", "docs/configuration.md"):
        shown += [y for y in re.findall(r"```yaml\n(.*?)```", (TOP / page).read_text(), re.S)
                  if "monitoring:" in y]
    assert len(shown) >= 3
    for text in shown:
        jsonschema.Draft7Validator(SCHEMA).validate(yaml.safe_load(text))


def test_every_key_has_help_and_a_type():
    def tables(node):
        if isinstance(node, dict):
            if "properties" in node and node.get("additionalProperties") is False:
                yield node["properties"]
            for child in node.values():
                yield from tables(child)
        elif isinstance(node, list):
            for child in node:
                yield from tables(child)

    keys = {name: key for table in tables(SCHEMA) for name, key in table.items()}
    assert len(keys) > 15 and [n for n, k in keys.items() if not k["description"]
                               or not {"type", "anyOf"} & set(k)] == []


# ---- completion --------------------------------------------------------------------------------------

def complete(tmp_path, *words):
    """The completions of the last of `words`."""
    script = ('source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _obs_agent; printf "%s\\n" '
              '"${COMPREPLY[@]}"')
    return run("bash", "-c", script, TOP / "templates/obs_agent.bash", *words,
               env={"OBSERV_DEPLOYMENTS": str(tmp_path), "PATH": "/usr/bin:/bin"}).split()


def test_completion_offers_every_option_and_the_applications(tmp_path):
    for app in ("shop", "billing"):
        (tmp_path / app).mkdir()
        (tmp_path / app / "config.yml").touch()
    usage = run(AGENT, "--help")
    offered = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", usage, re.M)) | set(re.findall(r"^  ([a-z]+)  ",
                                                                                        usage, re.M))
    assert offered == set(complete(tmp_path, "obs_agent", ""))
    assert complete(tmp_path, "obs_agent", "--pri") == ["--print-config", "--print-keys", "--print-formats"]
    assert complete(tmp_path, "obs_agent", "explain", str(tmp_path / "sh")) == [str(tmp_path / "shop")]
    assert complete(tmp_path, "obs_agent", "--app", "") == ["billing", "shop"]
    assert complete(tmp_path, "obs_agent", "doctor", "--app", "s") == ["shop"]
    assert complete(tmp_path, "obs_agent", "--app", "=", "b") == ["billing"]
    assert complete(tmp_path, "obs_agent", "explain", str(tmp_path / "sh")) == [str(tmp_path / "shop")]
    for form in complete(tmp_path, "obs_agent", "--print-keys", "="):
        assert run(AGENT, f"--print-keys={form}")
