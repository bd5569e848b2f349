"""The programmatic teacher: plays a scenario by the shop's policy, over real tool calls.

The expert sees what a model would see: the customer's words (as the facts that they disclose) and the tool results,
never the scenario. So its next move is a function of the visible conversation, and only its wording varies.
"""

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.core.conversation import Conversation, Goal, Message, ToolCall
from tasks.core.customer import Question, Said, ScriptedCustomer
from tasks.core.drawing import outcome_of
from tasks.core.errand import NEEDED_STATUS, SAFE_REASONS, STATUSES
from tasks.core.errors import SynthesisError
from tasks.core.phrases import PhraseBook
from tasks.core.scenario import Intent, Scenario
from zava_mcp.local import LocalShop, ToolReply

HAND_OFF = "The customer asks for a human agent."
OUTSIDE = "The customer has a request that no tool of the assistant serves."
EXAMPLES = 3  # products that are named when the customer asks for all

Json = Mapping[str, Any]


async def play(scenario: Scenario, shop: LocalShop, phrases: PhraseBook, system_prompt: str) -> Conversation:
    """Play a scenario on a fresh sandbox of the shop and return the conversation.

    Raises:
        SynthesisError: A tool refused a call of the expert, or the customer does not exist.
    """
    store = shop.reset()
    if scenario.customer_id not in store.users:
        raise SynthesisError(f"Scenario {scenario.id!r}: the shop has no customer {scenario.customer_id!r}.")
    user = store.users[scenario.customer_id].to_json()
    customer = ScriptedCustomer(scenario, user, phrases, random.Random(f"{scenario.seed}/customer"))
    expert = _Expert(shop, await shop.tools(), customer, phrases, random.Random(f"{scenario.seed}/expert"))
    outcomes = await expert.serve(system_prompt)
    return Conversation(
        id=f"expert-{scenario.id}" if scenario.phrasing == "own" else f"expert-{scenario.id}-seen",
        scenario_id=scenario.id,
        customer_id=scenario.customer_id,
        split=scenario.split,
        teacher="expert",
        intents=tuple(request.intent for request in scenario.requests),
        template_ids=customer.template_ids,
        messages=tuple(expert.messages),
        outcome=outcome_of(outcomes),
        final_state=store.digest(),
        goal=Goal(writes=scenario.gold_writes, outcome=scenario.gold_outcome),
        phrasing=scenario.phrasing,
    )


class _Expert:
    """One conversation in progress: what was said, and what the tools have shown so far."""

    def __init__(
        self,
        shop: LocalShop,
        tools: Sequence[Json],
        customer: ScriptedCustomer,
        phrases: PhraseBook,
        rng: random.Random,
    ) -> None:
        self._shop = shop
        self._arguments = {t["function"]["name"]: list(t["function"]["parameters"]["properties"]) for t in tools}
        self._customer = customer
        self._phrases = phrases
        self._rng = rng
        self._heard: dict[str, Any] = {}
        self._profile: dict[str, Any] = {}
        self._orders: dict[str, dict[str, Any]] = {}
        self._products: dict[str, dict[str, Any]] = {}
        self._calls = 0
        self.messages: list[Message] = []

    async def serve(self, system_prompt: str) -> list[tuple[Intent, str]]:
        """Play to the end and return the outcome of each request."""
        self.messages.append(Message(role="system", content=system_prompt))
        self._hear(self._customer.open())
        await self._authenticate()
        outcomes: list[tuple[Intent, str]] = []
        while True:
            if "request" not in self._heard:
                self._ask("request", "ask_request", first=self._profile["name"]["first_name"])
            request = self._heard.pop("request")
            outcomes.append((request["intent"], await self._serve_one(request)))
            if request["intent"] == "human":
                return outcomes
            said = self._hear(self._customer.answer("anything_else"))
            while "persists" in said.facts:
                said = self._ask("anything_else", "refuse.again")
            if said.facts.get("done"):
                self._reply("goodbye")
                return outcomes

    async def _authenticate(self) -> None:
        """Find the customer and read their profile at once."""
        while "identity" not in self._heard:
            self._ask("identity", "ask_name_zip" if "no_email" in self._heard else "ask_identity")
        user_id = await self._look_up(self._heard["identity"])
        self._profile = await self._read("get_user_details", user_id=user_id)

    async def _look_up(self, who: Json) -> str:
        """Return the id of the customer; where name and zip code lead to nobody, ask for them once again."""
        if "email" in who:
            return await self._call("find_user_id_by_email", email=who["email"])
        tool = "find_user_id_by_name_zip"
        found, is_error = await self._try(tool, first_name=who["first"], last_name=who["last"], zip=who["zip"])
        if not is_error:
            return found
        who = self._ask("identity", "ask_zip_again").facts["identity"]
        return await self._call(tool, first_name=who["first"], last_name=who["last"], zip=who["zip"])

    async def _serve_one(self, request: Json) -> str:
        match request["intent"]:
            case "human":
                return await self._hand_over(request)
            case "list_products":
                return self._refuse("advice") if "opinion" in request else await self._list_products()
            case "update_address":
                return await self._update_address(request)
            case "order_status_by_item":
                return await self._find_item(request["item"])
            case _:
                return await self._serve_order(request)

    async def _hand_over(self, request: Json) -> str:
        """Hand over to a human who was asked for, or who is agreed to for what no tool can do."""
        outside = request.get("outside", False)
        if outside and not self._confirmed("human"):
            return "kept"
        await self._call("transfer_to_human_agents", summary=OUTSIDE if outside else HAND_OFF)
        self._reply("transferred")
        return "transferred"

    async def _list_products(self) -> str:
        products = await self._read("list_products")
        examples = ", ".join(list(products)[:EXAMPLES])
        self._reply("products", count=str(len(products)), examples=examples)
        return "answered"

    async def _update_address(self, request: Json) -> str:
        if "person" in request:
            return self._refuse("other_person")
        if "detail" in request:
            return self._refuse("fixed_detail", detail=request["detail"])
        address = request["address"]
        if not self._confirmed("update_address", address=_one_line(address)):
            return "kept"
        self._profile = await self._read("update_address", user_id=self._profile["user_id"], **address)
        self._reply("done.update_address")
        return "done"

    async def _find_item(self, name: str) -> str:
        """Look through the orders that are known, then read the others one after another, until the item is found."""
        known = [order_id for order_id in self._profile["orders"] if order_id in self._orders]
        unread = [order_id for order_id in self._profile["orders"] if order_id not in self._orders]
        for order_id in known + unread:
            order = await self._order(order_id)
            if any(item["name"] == name for item in order["items"]):
                self._reply("status_by_item", item=name, order=order_id, status=order["status"])
                return "answered"
        raise SynthesisError(f"Customer {self._profile['user_id']!r} has no order with {name!r}.")

    async def _serve_order(self, request: Json) -> str:
        """Serve a request about the order that is named; where it was the wrong one, about the one that is meant."""
        order_id = request.get("order_id") or self._ask("order", "ask_order").facts["order_id"]
        outcome = await self._serve_named(order_id, request)
        meant = self._heard.pop("meant", None)
        return outcome if meant is None else await self._serve_named(meant, request)

    async def _serve_named(self, order_id: str, request: Json) -> str:
        """Check owner and state first, then do what is wanted."""
        intent = request["intent"]
        if order_id not in self._profile["orders"]:
            return self._refuse("foreign_order", order=order_id)
        order = await self._order(order_id)
        if intent == "order_status":
            self._reply("status", order=order_id, status=order["status"])
            return "answered"
        if order["status"] != NEEDED_STATUS[intent]:
            self._reply("refuse.wrong_state", order=order_id, status=order["status"])
            return "refused wrong_state" if order["status"] in STATUSES else "refused second_change"
        return await self._change(order, request)

    async def _change(self, order: Json, request: Json) -> str:
        match request["intent"]:
            case "cancel":
                return await self._cancel(order, request)
            case "return":
                return await self._return(order, request)
            case "exchange" | "modify_items" if "product" in request:
                return self._refuse("other_product", item=request["item"])
            case "exchange" | "modify_items":
                return await self._replace(order, request)
            case "modify_payment":
                return await self._move_payment(order, request)
            case _:
                address = request["address"]
                shown = _one_line(address)
                return await self._write(
                    "modify_order_address", "modify_pending_order_address", order, address, address=shown
                )

    async def _cancel(self, order: Json, request: Json) -> str:
        reason = request.get("reason") or self._ask("reason", "ask_reason").facts["reason"]
        if reason not in SAFE_REASONS:
            self._reply("refuse.reason")
            return "refused unacceptable_reason"
        return await self._write("cancel", "cancel_pending_order", order, {"reason": reason}, reason=reason)

    async def _return(self, order: Json, request: Json) -> str:
        items = [_item(order, name) for name in request["items"]]
        mention = request.get("payment") or self._ask("refund", "ask_refund").facts["payment"]
        method = self._method(mention, order)
        if method is None:
            return self._refuse("unknown_payment")
        if not self._may_be_refunded(order, method):
            return self._refuse("wrong_refund", order=order["order_id"])
        arguments = {"item_ids": [item["item_id"] for item in items], "payment_method_id": method}
        shown = " and ".join(f"the {item['name']}" for item in items)
        return await self._write(
            "return", "return_delivered_order_items", order, arguments, items=shown, payment=method
        )

    async def _replace(self, order: Json, request: Json) -> str:
        """Exchange or modify items: each item gets the available variant with exactly the wished options."""
        intent: Intent = request["intent"]
        items = [_item(order, change["item"]) for change in request["changes"]]
        products = [await self._product(item["product_id"]) for item in items]
        new_ids: list[str] = []
        for product, change in zip(products, request["changes"], strict=True):
            new_id = _variant(product, change["options"])
            if new_id is None:
                return self._refuse("not_available", item=change["item"])
            new_ids.append(new_id)
        mention = request.get("payment") or self._ask("payment", "ask_payment").facts["payment"]
        method = self._method(mention, order)
        if method is None:
            return self._refuse("unknown_payment")
        arguments = {
            "item_ids": [item["item_id"] for item in items],
            "new_item_ids": new_ids,
            "payment_method_id": method,
        }
        changes = " and ".join(
            f"the {change['item']} to {', '.join(change['options'].values())}" for change in request["changes"]
        )
        tool = "exchange_delivered_order_items" if intent == "exchange" else "modify_pending_order_items"
        return await self._write(intent, tool, order, arguments, changes=changes, payment=method)

    async def _move_payment(self, order: Json, request: Json) -> str:
        method = self._method(request["payment"], order)
        if method is None:
            return self._refuse("unknown_payment")
        if not self._covers(method, order["payment_history"][0]["amount"]):
            return self._refuse("card_too_small", order=order["order_id"], payment=method)
        shown = {"old": order["payment_history"][0]["payment_method_id"], "payment": method}
        arguments = {"payment_method_id": method}
        return await self._write("modify_payment", "modify_pending_order_payment", order, arguments, **shown)

    async def _write(self, intent: Intent, tool: str, order: Json, arguments: Json, **shown: str) -> str:
        """Get an explicit yes, make the change and say so; without the yes, change nothing."""
        order_id = order["order_id"]
        if not self._confirmed(intent, order=order_id, **shown):
            return "kept"
        self._orders[order_id] = await self._read(tool, order_id=order_id, **arguments)
        self._reply(f"done.{intent}", order=order_id, payment=shown.get("payment", ""))
        return "done"

    def _confirmed(self, intent: Intent, **shown: str) -> bool:
        if self._ask("confirmation", f"confirm.{intent}", **shown).facts["confirms"]:
            return True
        if "meant" not in self._heard:
            self._reply("kept")
        return False

    def _refuse(self, rule: str, **slots: str) -> str:
        self._reply(f"refuse.{rule}", **slots)
        return f"refused {rule}"

    def _may_be_refunded(self, order: Json, method: str) -> bool:
        original = order["payment_history"][0]["payment_method_id"]
        return method == original or bool(self._profile["payment_methods"][method]["source"] == "gift_card")

    def _covers(self, method: str, amount: float) -> bool:
        """Whether a payment method can pay an amount; only a gift card can be too small."""
        balance = self._profile["payment_methods"][method].get("balance")
        return balance is None or bool(balance >= amount)

    def _method(self, mention: Json, order: Json) -> str | None:
        """Return the id of the payment method that the customer means, or None where they have none of the kind."""
        if "id" in mention:
            return str(mention["id"])
        if "original" in mention:
            return str(order["payment_history"][0]["payment_method_id"])
        methods = self._profile["payment_methods"].values()
        return next((str(method["id"]) for method in methods if method["source"] == mention["kind"]), None)

    async def _order(self, order_id: str) -> dict[str, Any]:
        """Return an order, read once: a change returns it as it then is."""
        if order_id not in self._orders:
            self._orders[order_id] = await self._read("get_order_details", order_id=order_id)
        return self._orders[order_id]

    async def _product(self, product_id: str) -> dict[str, Any]:
        if product_id not in self._products:
            self._products[product_id] = await self._read("get_product_details", product_id=product_id)
        return self._products[product_id]

    def _ask(self, question: Question, act: str, **slots: str) -> Said:
        self._reply(act, **slots)
        return self._hear(self._customer.answer(question))

    def _reply(self, act: str, **slots: str) -> None:
        self.messages.append(Message(role="assistant", content=self._phrases.reply(act, self._rng, **slots)))

    def _hear(self, said: Said) -> Said:
        self.messages.append(Message(role="user", content=said.text))
        self._heard |= said.facts
        return said

    async def _read(self, tool: str, **arguments: Any) -> dict[str, Any]:
        record = json.loads(await self._call(tool, **arguments))
        if not isinstance(record, dict):
            raise SynthesisError(f"{tool} returned {record!r}, not a record.")
        return record

    async def _call(self, tool: str, **arguments: Any) -> str:
        """Make one call that the shop must not refuse, and return the text of the result."""
        text, is_error = await self._try(tool, **arguments)
        if is_error:
            raise SynthesisError(f"The shop refused {tool}({json.dumps(arguments)}) of the expert: {text}")
        return text

    async def _try(self, tool: str, **arguments: Any) -> ToolReply:
        """Make one call, its arguments in the order of the tool's schema, and return what the shop says."""
        ordered = {name: arguments[name] for name in self._arguments[tool] if name in arguments}
        self._calls += 1
        call = ToolCall(
            id=f"call_{self._calls}",
            name=tool,
            arguments=json.dumps(ordered, separators=(",", ":"), ensure_ascii=False),
        )
        self.messages.append(Message(role="assistant", tool_calls=(call,)))
        reply = await self._shop.call(tool, ordered)
        self.messages.append(Message(role="tool", content=reply.text, tool_call_id=call.id))
        return reply


def _item(order: Json, name: str) -> Json:
    [item] = [item for item in order["items"] if item["name"] == name]
    return dict(item)


def _variant(product: Json, options: Json) -> str | None:
    """Return the id of the available variant with these options, or None where there is none."""
    fitting = (v["item_id"] for v in product["variants"].values() if v["available"] and v["options"] == options)
    return next(map(str, fitting), None)


def _one_line(address: Json) -> str:
    street = ", ".join(part for part in (address["address1"], address["address2"]) if part)
    return f"{street}, {address['city']}, {address['state']} {address['zip']}"
