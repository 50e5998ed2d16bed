#!/usr/bin/env python3
"""Write sales.csv beside this file: 600 sales of a quarter, the same ones each time."""

import csv
import random
from datetime import date, timedelta
from pathlib import Path

ROWS = 600
START = date(2026, 7, 1)
REGIONS = {"north": 5, "south": 3, "east": 2, "west": 4}  # how often
PRICES = {
    "kettle-04": "39.90",
    "lamp-12": "24.50",
    "chair-07": "119.00",
    "desk-02": "349.00",
    "rug-18": "89.95",
}


def main() -> None:
    """Make the rows and write them."""
    chance = random.Random(20260701)
    days = sorted(START + timedelta(days=chance.randrange(92)) for _ in range(ROWS))
    with Path(__file__).with_name("sales.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["sale", "date", "region", "product", "quantity", "unit_price"])
        for number, day in enumerate(days, start=1):
            product = chance.choice(list(PRICES))
            region = chance.choices(list(REGIONS), weights=list(REGIONS.values()))[0]
            quantity = chance.choice([1, 1, 1, 2, 2, 3, 6])
            rows.writerow([f"s-{number:04}", day, region, product, quantity, PRICES[product]])


if __name__ == "__main__":
    main()
