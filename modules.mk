# What the libraries are made of: each folder becomes an archive. programs.mk has those of the programs.
#
# A module is a line here; programs and tests link archives.
COMMON := \
  arena \
  buf \
  doctor_say \
  err \
  level \
  line_start \
  log \
  parse \
  path_pattern \
  random \
  read \
  utf8 \
  visible \
  net/address \
  net/hide \
  net/names \
  net/url \
  net/url_mask \
  settings/app_name \
  settings/conf_file \
  settings/near \
  settings/server_name \
  settings/yaml_tree \
  template/template \
  template/template_parse \
  zone/tzif \
  zone/zone

COMMON_PG := \
  pg_cert \
  pg_message \
  pg_open \
  pg_options \
  pg_target \
  pg_tls \
  pg_verdict

# What programs use that have json-c.
COMMON_JSON := \
  json

# Messages to people, and the channels that they go through.
COMMON_CHANNELS := \
  channel \
  conceal \
  http \
  mail \
  mail_text \
  message \
  ntfy \
  pagerduty \
  sending \
  slack \
  telegram \
  transfer \
  webhook

# What programs with an sd-event loop share.
COMMON_LOOP := \
  curl_glue \
  notify \
  pg_connect \
  resolve \
  worker

WIRE := \
  batch \
  json_distinct \
  json_each \
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
  log/log_line_members \
  log/log_line_text \
  log/log_memo \
  log/log_names \
  log/log_object \
  log/log_pieces \
  log/log_pieces_level \
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
