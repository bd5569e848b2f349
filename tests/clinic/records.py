"""The records of a small animal clinic: a world that shares nothing with the shop."""

from typing import Any

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
_OWNERS = (
    "Ada Quist", "Bo Ferrant", "Cleo Marsh", "Dov Halloran", "Edda Voss", "Finn Okoro", "Gia Lund", "Hugo Prail",
    "Ines Corvo", "Jarl Teague", "Kaya Brandt", "Lior Stane", "Mina Dault", "Nils Ombre", "Orla Finch", "Per Sandoval",
    "Quinn Abara", "Rhea Kolb", "Sven Liddel", "Tova Merrick", "Udo Farrow", "Vera Pohl", "Wim Castell", "Xenia Roth",
)  # fmt: skip
_PETS = ("Biscuit", "Mango", "Pepper", "Socks", "Waffle", "Ziggy")
_SPECIES = ("dog", "cat", "rabbit")


class ClinicError(Exception):
    """A refusal of the clinic, for the model to read."""


class Clinic:
    """Owners, their pets, and visits at the slots of a week."""

    def __init__(self) -> None:
        """Start with one pet and one visit for each owner, and the afternoons free."""
        self.owners: dict[str, dict[str, Any]] = {}
        self.pets: dict[str, dict[str, Any]] = {}
        self.visits: dict[str, dict[str, Any]] = {}
        self.slots = {
            f"slot-{100 * day + hour}": {"slot_id": f"slot-{100 * day + hour}", "day": name, "hour": hour}
            for day, name in enumerate(DAYS, start=1)
            for hour in (*range(8, 13), *range(14, 18))
        }
        mornings = [slot for slot in self.slots.values() if slot["hour"] < 13]
        for number, name in enumerate(_OWNERS):
            owner_id, pet_id = f"own-{2041 + 37 * number}", f"pet-{6003 + 53 * number}"
            self.owners[owner_id] = {"owner_id": owner_id, "name": name, "phone": f"555-{3120 + 41 * number}"}
            pet = {"pet_id": pet_id, "owner_id": owner_id, "name": _PETS[number % 6], "species": _SPECIES[number % 3]}
            self.pets[pet_id] = pet
            self._add_visit(pet_id, mornings[number]["slot_id"], "check-up")

    def owner_by_phone(self, phone: str) -> str:
        """Return an owner's id."""
        for owner in self.owners.values():
            if owner["phone"] == phone:
                return str(owner["owner_id"])
        raise ClinicError(f"Nobody has the phone number {phone!r}.")

    def owner(self, owner_id: str) -> dict[str, Any]:
        """Return an owner with pets and visits."""
        if owner_id not in self.owners:
            raise ClinicError(f"There is no owner {owner_id!r}.")
        pets = [pet for pet in self.pets.values() if pet["owner_id"] == owner_id]
        mine = {pet["pet_id"] for pet in pets}
        return {
            **self.owners[owner_id],
            "pets": pets,
            "visits": [visit for visit in self.visits.values() if visit["pet_id"] in mine],
        }

    def free_slots(self, day: str) -> list[dict[str, Any]]:
        """Return the free slots of a day."""
        taken = {visit["slot_id"] for visit in self.visits.values()}
        return [slot for slot in self.slots.values() if slot["day"] == day and slot["slot_id"] not in taken]

    def book(self, pet_id: str, slot_id: str, reason: str) -> dict[str, Any]:
        """Book a visit."""
        if pet_id not in self.pets:
            raise ClinicError(f"There is no pet {pet_id!r}.")
        self._check_free(slot_id)
        return self._add_visit(pet_id, slot_id, reason)

    def move(self, visit_id: str, slot_id: str) -> dict[str, Any]:
        """Move a visit to another slot."""
        visit = self._visit(visit_id)
        self._check_free(slot_id)
        visit["slot_id"] = slot_id
        return visit

    def cancel(self, visit_id: str) -> dict[str, Any]:
        """Cancel a visit."""
        visit = self._visit(visit_id)
        del self.visits[visit_id]
        return {**visit, "cancelled": True}

    def _visit(self, visit_id: str) -> dict[str, Any]:
        if visit_id not in self.visits:
            raise ClinicError(f"There is no visit {visit_id!r}.")
        return self.visits[visit_id]

    def _check_free(self, slot_id: str) -> None:
        if slot_id not in self.slots:
            raise ClinicError(f"There is no slot {slot_id!r}.")
        if any(visit["slot_id"] == slot_id for visit in self.visits.values()):
            raise ClinicError(f"Slot {slot_id!r} is taken.")

    def _add_visit(self, pet_id: str, slot_id: str, reason: str) -> dict[str, Any]:
        visit_id = f"visit-{8100 + 7 * len(self.visits)}"
        self.visits[visit_id] = {"visit_id": visit_id, "pet_id": pet_id, "slot_id": slot_id, "reason": reason}
        return self.visits[visit_id]
