#!/bin/sh
# The shortest script that logs. With logcore installed: ./quickstart.sh
set -u
export LOGCORE_LOGGER=quickstart

logcore info "User action" user_id:=123 action=login

error=$(ls /nowhere 2>&1) || logcore error "Cannot look" status:=$? error="$error"
