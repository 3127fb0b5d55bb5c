"""Log lines in logcore's format, on average 226 bytes long, the same for the same seed."""
import itertools
import json
import random
import time

WORDS = ("request session user payment order cache queue worker upstream retry commit index page cart token "
         "region shard "
         "replica leader quorum snapshot batch stream offset checksum buffer socket handshake deadline "
         "budget limit quota "
         "tenant invoice refund shipment address profile email webhook signature schedule backup restore "
         "metric sample").split()
VERBS = ("accepted rejected created updated deleted started finished delayed skipped loaded stored sent "
         "received".split())
LOGGERS = ("shop.http", "shop.orders", "shop.payments.gateway", "shop.worker", "shop.cache")
LEVELS = ("INFO",) * 14 + ("DEBUG",) * 3 + ("WARNING",) * 2 + ("ERROR",)
PATHS = ("/cart", "/checkout", "/orders/history", "/api/v2/items", "/login")
APART_US = 1000                 # between two lines


def rows(count, seed=1):
    """(timestamp in us, level, logger, message, context as JSON text); the last line has the current time."""
    dice = random.Random(seed)
    words = [w for i, w in enumerate(WORDS) for _ in range(1 + 60 // (i + 1))]          # Zipf, roughly
    now = int(time.time() * 1e6) - count * APART_US
    for n in range(count):
        message = (f"{dice.choice(words)} {dice.choice(words)} {dice.choice(VERBS)} by {dice.choice(words)} "
                   f"in {n % 997} ms")
        if n % 17 == 0:
            message += ": upstream timeout"
        context = (f'{{"request_id":"{dice.getrandbits(48):012x}","user_id":{n * 7919 % 100003},'
                   f'"path":"{PATHS[n % 5]}","ms":{n % 997}.{n % 7}}}')
        yield now + n * APART_US, dice.choice(LEVELS), dice.choice(LOGGERS), message, context


def line(row, stamps={}):
    us, level, logger, message, context = row
    second = us // 1_000_000
    if second not in stamps:
        stamps.clear()
        stamps[second] = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
    return (f'{{"timestamp":"{stamps[second]}.{us % 1_000_000:06d}Z","level":"{level}","logger":"{logger}",'
            f'"message":{json.dumps(message)},"context":{context}}}\n')


def write(path, source):
    """Write a file of such lines; returns its size in bytes."""
    lines = (line(row).encode() for row in source)
    with open(path, "wb") as f:
        while piece := b"".join(itertools.islice(lines, 20000)):
            f.write(piece)
        return f.tell()
