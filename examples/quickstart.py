#!/usr/bin/python3
"""The shortest program that logs, in Python. With the library installed: python3 quickstart.py"""
import logcore


def charge(card):
    raise RuntimeError(f"card {card} was refused")


log = logcore.get_logger("quickstart")
log.info("User action", extra={"context": {"user_id": 123, "action": "login"}})

request = log.getChild("http").bind(request_id=7)
try:
    charge("4711")
except RuntimeError:
    request.exception("Payment failed")
