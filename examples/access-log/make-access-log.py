#!/usr/bin/env python3
"""Write access.log beside this file: 3,000 lines as a web server writes them, the same ones each time.

`python make-access-log.py` after a change; addresses and names are those reserved for documentation.
"""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

LINES = 3000
MALFORMED = 37  # cut off by a full disk, or no access log line at all
START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)

PRODUCTS = ["kettle-04", "lamp-12", "chair-07", "desk-02", "shelf-31", "rug-18", "clock-05"]
PAGES = [  # (path, how often, size in bytes)
    ("/", 30, 14822),
    ("/products", 18, 20311),
    ("/products/{product}", 40, 9120),
    ("/search?q={word}", 14, 7733),
    ("/cart", 8, 3021),
    ("/static/app.3f9c1d.js", 24, 88214),
    ("/static/site.8b2e77.css", 20, 21077),
    ("/static/img/{product}.webp", 34, 45980),
    ("/api/stock/{product}", 22, 164),
    ("/about", 4, 5230),
    ("/robots.txt", 3, 112),
]
WORDS = ["oak+desk", "red+rug", "wall+clock", "kettle+1.7l", "caf%C3%A9+chair"]
SCANNED = ["/wp-login.php", "/.env", "/phpmyadmin/", "/old/catalogue.pdf", "/apple-touch-icon.png"]
AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 "
    "Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.1 Mobile/15E148 Safari/604.1",
    "ExampleBot/2.1 (+https://bot.example.org/info)",
    "curl/8.11.0",
]
REFERRERS = [
    "-",
    "-",
    "https://shop.example.com/",
    "https://search.example.net/",
    "https://example.org/blog",
]
MALFORMED_LINES = [
    "203.0.113.7 - - [23/Nov/2026:07:41:1",
    "Traceback (most recent call last):",
    '198.51.100.23 - - [23/Nov/2026:09:12:55 +0000] "GET /products HTT',
    "logrotate: renamed access.log.1 to access.log.2",
    '192.0.2.61 - - "GET /cart HTTP/1.1" 200 3021 "-" "-"',
]


def main() -> None:
    """Make the lines and write them."""
    chance = random.Random(20261123)
    lines = [line(chance, at) for at in times(chance, LINES - MALFORMED)]
    for number in range(MALFORMED):
        lines.insert(chance.randrange(len(lines)), MALFORMED_LINES[number % len(MALFORMED_LINES)])
    text = "".join(f"{line}\n" for line in lines)
    Path(__file__).with_name("access.log").write_text(text, encoding="utf-8", newline="\n")


def times(chance: random.Random, count: int) -> list[datetime]:
    """Return `count` moments of one day, in order."""
    return sorted(
        START + timedelta(seconds=chance.triangular(0, 50_000, 30_000)) for _ in range(count)
    )


def line(chance: random.Random, at: datetime) -> str:
    """Return one line in the combined log format."""
    verb, path, status, size = request(chance)
    asked = (
        f"{verb} {path} HTTP/{chance.choice(['1.1', '1.1', '2.0'])}" if verb else "\\x16\\x03\\x01"
    )
    user = "-" if chance.random() < 0.93 else chance.choice(["ada", "grace", "linus"])
    sent = "-" if status in (204, 304) else str(size)
    agent = chance.choices(AGENTS, weights=[30, 18, 30, 22, 7, 3])[0] if verb else "-"
    referrer = chance.choice(REFERRERS) if verb else "-"
    stamp = at.strftime("%d/%b/%Y:%H:%M:%S +0000")
    return f'{address(chance)} - {user} [{stamp}] "{asked}" {status} {sent} "{referrer}" "{agent}"'


def request(chance: random.Random) -> tuple[str, str, int, int]:
    """Return verb, path, status and size; no verb for what is no HTTP at all."""
    kind = chance.random()
    if kind < 0.01:
        return "", "", 400, 157
    if kind < 0.06:
        return "GET", chance.choice(SCANNED), chance.choice([404, 404, 404, 403, 410]), 548
    if kind < 0.09:
        return "POST", "/cart", chance.choice([201, 201, 204, 409, 422]), 96
    if kind < 0.13:
        return (
            "GET",
            chance.choice(["/shop", "/products/", "/index.html"]),
            chance.choice([301, 302, 308]),
            162,
        )
    path, _, size = chance.choices(PAGES, weights=[often for _, often, _ in PAGES])[0]
    path = path.format(product=chance.choice(PRODUCTS), word=chance.choice(WORDS))
    status = chance.choices(
        [200, 304, 206, 500, 502, 503, 429, 101], weights=[860, 90, 8, 14, 9, 7, 8, 2]
    )[0]
    return "GET", path, status, size if status < 300 else 166


def address(chance: random.Random) -> str:
    """Return a client's address out of the blocks for documentation (RFC 5737, RFC 3849)."""
    if chance.random() < 0.12:
        return f"2001:db8:{chance.randrange(16):x}::{chance.randrange(1, 4096):x}"
    return f"{chance.choice(['192.0.2', '198.51.100', '203.0.113'])}.{chance.randrange(1, 255)}"


if __name__ == "__main__":
    main()
