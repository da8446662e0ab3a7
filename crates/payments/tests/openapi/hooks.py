"""What a tester that knows only the document cannot know: who may ask, new keys, ids that exist. A share of all cases stays as it was drawn."""

import os
import random
import uuid

import schemathesis

FOLDER = os.environ["PAYMENTS_DATA"]
BEARERS = {name: open(f"{FOLDER}/{name}.token").read() for name in ["ann", "olga", "otto", "ada"]}
ANN, BEN = "0197b1f0-0000-7000-8000-00000000000a", "0197b1f0-0000-7000-8000-00000000000b"
PEOPLE = ["0197b1f0-0000-7000-8000-0000000000a1", "0197b1f0-0000-7000-8000-0000000000b1"]
MADE = {"payments": [], "refunds": [], "transfers": []}


def often(share):
    return random.random() < share


def existing(path):
    kind = path.split("/")[1]
    if kind == "people":
        return random.choice(PEOPLE)
    return random.choice(MADE.get(kind) or [ANN, BEN])


@schemathesis.hook
def before_call(context, case, **kwargs):
    path = case.operation.path
    if often(0.9):
        case.headers["Idempotency-Key"] = f'"{uuid.uuid4()}"'
    who = "olga" if path.endswith("/refunds") and often(0.8) else random.choice(list(BEARERS))
    case.headers["Authorization"] = "Bearer " + BEARERS[who]
    if often(0.4):
        case.headers["If-Match"] = f'"{random.randint(1, 6)}"'
    parameters = case.path_parameters
    if parameters and "id" in parameters and often(0.8):
        parameters["id"] = existing(path)
    if parameters and "currency" in parameters and often(0.7):
        parameters["kind"], parameters["currency"] = "charge", "EUR"
    if not isinstance(case.body, dict) or not often(0.7):
        return
    values = {
        "id": str(uuid.uuid4()),
        "from": ANN,
        "to": BEN,
        "account": ANN,
        "owner": PEOPLE[0],
        "person": PEOPLE[0],
        "role": "customer",
        "currency": "EUR",
        "amount": random.choice([1, 50, 5_000, 100_000_000]),
        "status": "verified" if "kyc" in path else "open",
        "card": random.choice(["tok_visa", "tok_declined"]),
    }
    case.body.update({name: value for name, value in values.items() if name in case.body})
    made = "refunds" if path.endswith("/refunds") else path.strip("/")
    if made in MADE and isinstance(case.body.get("id"), str):
        MADE[made].append(case.body["id"])
