# What is made of what: each folder becomes an archive.
#
# A module is a line here; programs and tests link archives.
COMMON := \
  app_name \
  arena \
  buf \
  err \
  level \
  line_start \
  log \
  net/names \
  net/url \
  net/url_mask \
  near \
  parse \
  path_pattern \
  random \
  read \
  server_name \
  tzif \
  utf8 \
  visible \
  zone

COMMON_PG := \
  pg_cert \
  pg_message \
  pg_open \
  pg_options \
  pg_target \
  pg_tls \
  pg_verdict

WIRE := \
  batch \
  json_distinct \
  json_lenient \
  json_scan \
  position \
  push \
  row_json \
  sample \
  log/log_ahead \
  log/log_columns \
  log/log_context \
  log/log_fields \
  log/log_group \
  log/log_keys \
  log/log_level \
  log/log_line \
  log/log_line_text \
  log/log_memo \
  log/log_names \
  log/log_object \
  log/log_pieces \
  log/log_plain \
  log/log_text \
  log/log_time \
  log/log_trace \
  log/log_wrapper \
  log/log_zone \
  log/multiline

LOGCORE := \
  backtrace \
  buffered/buffers \
  buffered/leftovers \
  buffered/process \
  buffered/ring \
  buffered/ring_file \
  buffered/slot \
  buffered/writer \
  field \
  file \
  journal \
  json \
  line \
  logcore \
  nested \
  number \
  options \
  redact/luhn \
  redact/patterns \
  redact/prefilter \
  redact/redact \
  redact/secret_key \
  shared \
  sink \
  timestamp

AGENT := \
  agent \
  deliver \
  deliver_state \
  notify \
  run \
  self \
  status \
  check/check_attempt \
  check/check_body \
  check/check_guard \
  check/check_url \
  check/check_verdict \
  check/src_check \
  config/config \
  config/config_hide \
  config/config_keys \
  config/config_kind \
  config/config_list \
  config/config_manual \
  config/config_print \
  config/config_schema \
  config/config_value \
  config/credential \
  config/env_file \
  config/yaml_tree \
  doctor/doctor \
  doctor/doctor_agent \
  doctor/doctor_logs \
  doctor/doctor_say \
  doctor/doctor_state \
  doctor/doctor_unit \
  doctor/pg_doctor \
  explain/explain \
  net/curl_glue \
  net/resolve \
  outbox/outbox \
  outbox/outbox_segment \
  outbox/outbox_stream \
  pg/pg \
  pg/pg_connect \
  pg/pg_enroll \
  proc/proc_mounts \
  proc/proc_parse \
  proc/proc_traffic \
  proc/proc_unit \
  proc/src_proc \
  tail/file_systems \
  tail/fingerprint \
  tail/identity \
  tail/log_name \
  tail/log_open \
  tail/names \
  tail/rate_limit \
  tail/reader \
  tail/remembered \
  tail/src_tail \
  tail/stream \
  tail/stream_fields \
  tail/stream_life \
  tail/stream_text \
  tail/tail_copy \
  tail/tail_cover \
  tail/tail_files \
  tail/tail_folders \
  tail/tail_look \
  tail/tail_missing \
  tail/tail_positions \
  tail/tail_search \
  tail/tail_status \
  tail/watches

HUB := \
  admin/command \
  admin/setup \
  admin/setup_agents \
  admin/setup_database \
  admin/setup_hub \
  base/assets \
  base/body \
  base/csv \
  base/db \
  base/draw \
  base/export \
  base/format \
  base/http \
  base/links \
  base/page \
  base/params \
  base/template \
  base/template_parse \
  base/times \
  pages/log_lines \
  pages/log_params \
  pages/search \
  pages/search_mark \
  pages/search_term \
  pages/search_write \
  routes
