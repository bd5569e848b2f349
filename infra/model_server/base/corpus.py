"""Generic tool-use dialogues for pre-training: random domains, tool names, record shapes and ids; no shop in it.

Every dialogue is {"messages": [...], "tools": [...]} in the OpenAI shape, so that pre-training, fine-tuning and
serving share one renderer. What it teaches is *copying*: an id that a user or a tool gave goes on unchanged.
"""

import json
import random
from typing import Any

from infra.model_server.base import lexicon as lx

Dialogue = dict[str, Any]


def digits(r: random.Random, n: int) -> str:
    """Return n digits, the first not zero."""
    return str(r.randint(1, 9)) + "".join(str(r.randint(0, 9)) for _ in range(n - 1))


def word(r: random.Random) -> str:
    """Return an invented word."""
    return "".join(r.choice(lx.SYLLABLES) for _ in range(r.randint(2, 4)))


def first_name(r: random.Random) -> str:
    """Return a given name, mostly an invented one."""
    return r.choice(lx.FIRST_NAMES) if r.random() < 0.4 else word(r).capitalize()


def last_name(r: random.Random) -> str:
    """Return a family name, mostly an invented one."""
    return r.choice(lx.LAST_NAMES) if r.random() < 0.4 else word(r).capitalize()


def identifier(r: random.Random, kind: str, noun: str = "") -> str:
    """Return an id of a kind: name, number, hash, prefix, snake, upper, hex or dash."""
    if kind == "name":
        return f"{first_name(r)}_{last_name(r)}_{digits(r, 4)}".lower()
    if kind == "number":
        return digits(r, r.choice([5, 6, 8, 10, 10]))
    if kind == "hash":
        return "#" + r.choice("ABCDEFGHKLMPRSTWXZ") + digits(r, r.choice([4, 5, 6, 7, 7]))
    if kind == "prefix":
        return (noun or word(r))[:3].upper() + "-" + digits(r, r.choice([3, 4, 5, 6]))
    if kind == "snake":
        return f"{noun or word(r)}_{digits(r, r.choice([3, 4, 7]))}"
    if kind == "upper":
        return "".join(r.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(3)) + digits(r, 3)
    if kind == "hex":
        return "a" + "".join(r.choice("0123456789abcdef") for _ in range(6)) + digits(r, 1)
    return f"{word(r)}-{digits(r, 2)}"


ID_KINDS = ("name", "number", "hash", "prefix", "snake", "upper", "hex", "dash")


def email(r: random.Random, first: str, last: str) -> str:
    """Return an e-mail address for a name."""
    return f"{first}.{last}{digits(r, r.choice([2, 3, 4]))}@{r.choice(['example.com', 'mail.com', 'post.net'])}".lower()


def address(r: random.Random, country: str | None = None) -> dict[str, str]:
    """Return a postal address in seven fields, in a country where one is given."""
    street = r.choice([word(r).capitalize(), r.choice(lx.NOUNS).capitalize()])
    unit = digits(r, r.choice([1, 2, 3, 3]))
    return {
        "address1": f"{digits(r, r.choice([2, 3, 3, 4]))} {street} {r.choice(lx.STREETS)}",
        "address2": f"{r.choice(lx.UNITS)} {unit}" if r.random() < 0.5 else "",
        "city": _town(r),
        "state": r.choice(lx.STATES),
        "country": country or r.choice(["USA", "USA", "USA", "Canada", "UK"]),
        "zip": digits(r, 5),
    }


def _town(r: random.Random) -> str:
    town = r.choice(lx.CITIES) if r.random() < 0.4 else word(r).capitalize()
    before = r.choice(["New", "San", "Las", "Fort", word(r).capitalize()])
    after = r.choice(["City", "Springs", "Beach", word(r).capitalize()])
    x = r.random()
    return town if x < 0.7 else f"{before} {town}" if x < 0.85 else f"{town} {after}"


def said_address(r: random.Random, a: dict[str, str], *, country: bool = False) -> str:
    """Return an address in one of the many ways in which people write it, with the country if told."""
    street = r.choice([", ", ", ", " "]).join(p for p in (a["address1"], a["address2"]) if p)
    city = r.choice(["{}", "{}", "{}", "city {}"]).format(a["city"])
    state = r.choice(["{}", "{}", "{}", "{}", "({})", "state {}", "in {}"]).format(a["state"])
    code = r.choice(["{}", "{}", "{}", "zip {}", "zip code {}", "postcode {}", "the zip is {}"]).format(a["zip"])
    gap = r.choice([" ", ", "])
    town = f"{city}{' ' if state[0] in '(i' else r.choice([' ', ', ', ', '])}{state}"
    town = f"{code}{gap}{town}" if r.random() < 0.2 else f"{town}{gap}{code}"
    said = street + r.choice([", ", ", ", ", ", " in ", "; ", " - ", ", in ", "\n"]) + town
    return f"{said}, {a['country']}" if country else said


def option_value(r: random.Random) -> str:
    """Return a value of an attribute: a word or two, or a measure."""
    x = r.random()
    if x < 0.25:
        return r.choice(lx.ADJECTIVES)
    if x < 0.55:
        return r.choice(lx.COMMON_WORDS)
    if x < 0.7:
        return r.choice(["{} {}", "with {}", "{}-{}", "for {}"]).format(*r.sample(lx.COMMON_WORDS, 2))
    unit = r.choice(["GB", "ml", "cm", "W", "inch", "mm", ""])
    return (
        f"{digits(r, r.choice([1, 2, 2, 3]))}{unit}"
        if x < 0.9
        else f"{r.randint(1, 9)} {r.choice(['ft', 'cups', 'packs', r.choice(lx.COMMON_WORDS)])}"
    )


def title(r: random.Random) -> str:
    """Return a thing's name in title case, one or two words."""
    noun = r.choice(lx.NOUNS).capitalize()
    return noun if r.random() < 0.5 else f"{r.choice(lx.ADJECTIVES).capitalize()} {noun}"


def compact(value: Any) -> str:
    """Return JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def tool(name: str, parameters: list[str]) -> dict[str, Any]:
    """Return a tool in the OpenAI shape."""
    properties = {p: {"type": "array" if p.endswith("s_ids") else "string"} for p in parameters}
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


def tool_name(r: random.Random) -> str:
    """Return a made-up tool name."""
    act, entity = r.choice(lx.ACTS + lx.READS), r.choice(lx.ENTITIES)
    x = r.random()
    if x < 0.25:
        return f"{act}_{r.choice(lx.ADJECTIVES)}_{entity}"
    return f"{act}_{entity}_{r.choice(lx.SUFFIXES + lx.ATTRIBUTES)}" if x < 0.55 else f"{act}_{entity}"


class Talk:
    """A dialogue under construction."""

    def __init__(self) -> None:
        """Start empty."""
        self.messages: list[dict[str, Any]] = []

    def user(self, text: str) -> None:
        """Let the user say something."""
        self.messages.append({"role": "user", "content": text})

    def agent(self, text: str) -> None:
        """Let the agent say something."""
        self.messages.append({"role": "assistant", "content": text})

    def call(self, name: str, arguments: dict[str, Any], result: Any = None) -> None:
        """Let the agent call a tool, and the tool answer where a result is given."""
        function = {"name": name, "arguments": compact(arguments)}
        calls = [{"id": "call", "type": "function", "function": function}]
        self.messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        if result is not None:
            self.tool(result if isinstance(result, str) else compact(result))

    def tool(self, text: str) -> None:
        """Let a tool say something."""
        self.messages.append({"role": "tool", "content": text})


def copying(r: random.Random) -> Dialogue:
    """Return a pure copying task: repeat a line, look a key up, or find a record's id by its name or options."""
    talk = Talk()
    x = r.random()
    if x < 0.2:
        line = " ".join(
            identifier(r, r.choice(ID_KINDS)) if r.random() < 0.7 else word(r) for _ in range(r.randint(2, 9))
        )
        talk.user(line)
        talk.agent(line)
    elif x < 0.6:
        _lookup_by_key(r, talk)
    else:
        _lookup_by_content(r, talk)
    return {"tools": [], "messages": talk.messages}


def _lookup_by_key(r: random.Random, talk: Talk) -> None:
    keys = r.sample(lx.ENTITIES + lx.ATTRIBUTES + [f"{e}_id" for e in lx.ENTITIES], r.randint(3, 9))
    record = {k: identifier(r, r.choice(ID_KINDS)) if r.random() < 0.7 else option_value(r) for k in keys}
    talk.tool(compact(record))
    for key in r.sample(keys, r.randint(2, min(5, len(keys)))):
        talk.user(key.replace("_", " "))
        talk.agent(str(record[key]))


def variants(r: random.Random, key: str, count: int) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return attribute names and that many records by id, no two with the same options."""
    names = r.sample(lx.ATTRIBUTES, r.choice([1, 2, 2, 2, 3, 3]))
    pool = {n: list({option_value(r) for _ in range(r.choice([2, 3, 4, 5]))}) for n in names}
    out: dict[str, dict[str, Any]] = {}
    seen = set()
    for _ in range(count * 3):
        options = {n: r.choice(pool[n]) for n in names}
        if len(out) < count and tuple(options.values()) not in seen:
            seen.add(tuple(options.values()))
            item = identifier(r, "number")
            out[item] = {
                key: item,
                "options": options,
                "available": r.random() < 0.8,
                "price": r.randint(500, 90000) / 100,
            }
    return names, out


def said_options(r: random.Random, options: dict[str, str]) -> str:
    """Return options as people say them: values alone, or with their names before or after them."""
    items = list(options.items())
    if r.random() < 0.3:
        r.shuffle(items)
    before = f"{r.choice(['', '', 'the ', 'a '])}{{k}}{r.choice([' ', ' ', ': ', ' = ', ' is ', ' of ', ', '])}{{v}}"
    after = (
        f"{{v}} {r.choice(['{k}', '({k})', 'as {k}', 'as the {k}', 'for the {k}', 'for {k}', 'in {k}', 'is the {k}'])}"
    )
    style = r.choice(["{v}", before, before, after])
    *first, last = [style.format(k=k, v=v) for k, v in items]
    return r.choice([", ", " and ", ", ", " "]).join(first) + r.choice([" and ", ", ", " "]) + last if first else last


def _lookup_by_content(r: random.Random, talk: Talk) -> None:
    key = r.choice(["item_id", "id", "code", "number"])
    _, records = variants(r, key, r.randint(2, 7))
    if r.random() < 0.7:
        talk.tool(compact({"name": title(r), "variants": records}))
    else:
        talk.tool(compact(list(records.values())))
    for chosen in r.sample(list(records.values()), min(len(records), r.randint(1, 4))):
        talk.user(said_options(r, chosen["options"]))
        talk.agent(chosen[key])


def direct(r: random.Random) -> Dialogue:
    """Return one to three direct requests, each served by one call with what the user said."""
    tools: dict[str, list[str]] = {}
    for _ in range(r.randint(2, 9)):
        name = tool_name(r)
        subject = next((w for w in name.split("_") if w in lx.ENTITIES), r.choice(lx.ENTITIES))
        parameters = [f"{subject}_id", *r.sample(lx.ATTRIBUTES + lx.FREE_FIELDS, r.choice([0, 0, 1, 2]))]
        if r.random() < 0.2:
            parameters = r.choice([["email"], ["first_name", "last_name", "zip"], ["phone"], []])
        tools.setdefault(name, parameters)
    talk = Talk()
    for _ in range(r.randint(1, 3)):
        name = r.choice(list(tools))
        _direct_request(r, talk, name, tools[name])
    return {"tools": [tool(n, p) for n, p in tools.items()], "messages": talk.messages}


def _direct_request(r: random.Random, talk: Talk, name: str, parameters: list[str]) -> None:
    first, last = first_name(r), last_name(r)
    arguments: dict[str, Any] = {}
    parts = []
    for p in parameters:
        value = _argument(r, p, first, last)
        arguments[p] = value
        label = p.replace("_", " ")
        said = " and ".join(value) if isinstance(value, list) else value
        style = (
            ["{p} {v}", "the {p} is {v}", "{p}: {v}", "with {p} {v}", "{v}"]
            if len(parameters) > 1
            else ["{v}", "{p} {v}"]
        )
        parts.append(r.choice(style).format(p=label, v=said))
    ask = r.choice(lx.ASKS).format(w=name.replace("_", " "))
    text = r.choice([", ", " ", ". "]).join([ask, *parts] if r.random() < 0.8 else [*parts, ask])
    talk.user(noisy(r, text + r.choice(["", ".", "!"])))
    talk.call(name, arguments)
    if r.random() < 0.5:
        talk.tool(compact({"status": r.choice(["ok", "done", "success"])}))
        talk.agent(r.choice(lx.DONE))


def _argument(r: random.Random, parameter: str, first: str, last: str) -> Any:
    if parameter.endswith("_id"):
        value = identifier(r, r.choice(ID_KINDS))
        return [value, identifier(r, r.choice(ID_KINDS))] if r.random() < 0.1 else value
    known = {"email": email(r, first, last), "zip": digits(r, 5), "first_name": first, "last_name": last}
    return known.get(parameter) or (digits(r, 10) if parameter == "phone" else option_value(r))


def amid_words(r: random.Random, *told: str) -> str:
    """Return what is told, in any order, with up to four words of any meaning before, between and after.

    There are more ways to say who one is than any list holds, so a name must be known by what it is and stands beside.
    """
    words = [" ".join(r.sample(lx.COMMON_WORDS, r.randint(0, 4))) for _ in range(len(told) + 1)]
    marks = [r.choice(["", "", ",", ".", ":"]) for _ in told]
    text = words[0]
    for what, mark, after in zip(r.sample(told, len(told)), marks, words[1:], strict=True):
        text += f" {what}{mark} {after}"
    return " ".join(text.split())


def noisy(r: random.Random, text: str) -> str:
    """Return the text, sometimes with small talk before or after it."""
    if r.random() < 0.8:
        return text
    chat = r.choice(lx.CHAT)
    return f"{chat} {text}" if r.random() < 0.5 else f"{text} {chat}"
