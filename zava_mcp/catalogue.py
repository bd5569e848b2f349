"""What the generated shop sells: each product with its price range in dollars and its options."""

from typing import NamedTuple


class Model(NamedTuple):
    """A product of the catalogue before it has ids, variants and exact prices."""

    name: str
    low: int
    high: int
    options: dict[str, tuple[str, ...]]


def _model(name: str, low: int, high: int, **options: str) -> Model:
    """Return a product whose options are written as 'first, second, third'."""
    return Model(name, low, high, {key: tuple(values.split(", ")) for key, values in options.items()})


CATALOGUE = (
    _model("Desk Lamp", 30, 60, color="black, white, silver, green", power="battery, cable, solar"),
    _model("Floor Lamp", 60, 140, color="black, gold, white", height="short, medium, tall"),
    _model("Backpack", 45, 110, color="black, blue, red, grey", size="small, medium, large"),
    _model("Travel Bag", 60, 150, color="brown, black, blue", size="small, medium, large"),
    _model("Rain Jacket", 70, 160, color="yellow, blue, black, green", size="small, medium, large"),
    _model("Wool Sweater", 50, 120, color="grey, red, cream, blue", size="small, medium, large"),
    _model("Running Shoes", 80, 170, color="white, black, orange", size="38, 40, 42, 44", width="narrow, wide"),
    _model("Hiking Boots", 110, 220, color="brown, black, green", size="38, 40, 42, 44"),
    _model("Sun Hat", 15, 40, color="white, yellow, blue", size="small, medium, large"),
    _model("Winter Gloves", 20, 55, color="black, red, grey", size="small, medium, large", lining="wool, fleece"),
    _model("Leather Belt", 25, 70, color="brown, black", length="short, medium, long"),
    _model("Office Chair", 150, 380, color="black, grey, blue", arms="with arms, without arms"),
    _model("Standing Desk", 290, 620, top="oak, white, black", width="120 cm, 140 cm, 160 cm"),
    _model("Bookshelf", 70, 190, material="oak, pine, metal", shelves="three, four, five"),
    _model("Bedside Table", 50, 130, material="oak, pine, glass", color="natural, white, black"),
    _model("Coffee Table", 90, 260, shape="round, square, long", top="oak, glass, stone"),
    _model("Wall Mirror", 40, 150, shape="round, square, oval", frame="black, gold, wood"),
    _model("Wall Clock", 20, 70, color="white, black, red", face="numbers, lines"),
    _model("Throw Pillow", 15, 45, color="red, green, blue, grey", filling="feather, foam"),
    _model("Blanket", 30, 95, color="cream, grey, green", material="wool, cotton"),
    _model("Bath Towel", 12, 35, color="white, blue, grey", size="small, large"),
    _model("Shower Curtain", 18, 48, pattern="plain, stripes, leaves", color="white, blue, green"),
    _model("Rug", 80, 320, color="red, blue, cream", size="small, medium, large", shape="round, square"),
    _model("Water Bottle", 15, 45, color="blue, green, black, pink", material="steel, glass", size="small, large"),
    _model("Lunch Box", 15, 40, color="red, blue, green", parts="one, two, three"),
    _model("Coffee Grinder", 40, 130, color="black, silver, red", power="hand, electric"),
    _model("Coffee Machine", 90, 340, color="black, silver, white", size="two cups, six cups, ten cups"),
    _model("Tea Pot", 25, 80, material="glass, steel, clay", size="small, medium, large"),
    _model("Toaster", 30, 95, color="silver, black, red", slots="two, four"),
    _model("Blender", 45, 160, color="white, black, red", speed="three, five, ten"),
    _model("Frying Pan", 25, 90, size="small, medium, large", coating="ceramic, steel, iron"),
    _model("Knife Set", 40, 180, pieces="three, five, eight", handle="wood, black, steel"),
    _model("Dinner Plates", 30, 100, color="white, blue, green", pieces="four, six, eight"),
    _model("Wine Glasses", 20, 75, pieces="two, four, six", shape="tall, wide"),
    _model("Cutting Board", 15, 60, material="bamboo, oak, plastic", size="small, medium, large"),
    _model("Kitchen Scale", 18, 55, color="white, black, silver", power="battery, cable"),
    _model("Spice Rack", 20, 65, material="wood, metal", rows="two, three, four"),
    _model("Headphones", 60, 290, color="black, white, blue", style="in ear, on ear, over ear"),
    _model("Speaker", 50, 240, color="black, grey, red", size="small, medium, large"),
    _model("Keyboard", 40, 170, color="black, white", keys="quiet, loud", connection="cable, wireless"),
    _model("Computer Mouse", 20, 90, color="black, white, pink", connection="cable, wireless"),
    _model("Monitor", 160, 520, size="24 inch, 27 inch, 32 inch", color="black, silver"),
    _model("Tablet", 210, 680, storage="64 GB, 128 GB, 256 GB", color="silver, black, gold"),
    _model("Phone Case", 12, 40, color="clear, black, red, blue", material="leather, plastic"),
    _model("Phone Charger", 15, 50, color="white, black", cable="short, medium, long"),
    _model("Alarm Clock", 18, 60, color="white, black, green", sound="bell, birds, radio"),
    _model("Digital Camera", 240, 780, color="black, silver", zoom="three times, five times, ten times"),
    _model("Photo Frame", 12, 50, size="small, medium, large", frame="wood, black, gold"),
    _model("Board Game", 20, 70, theme="farm, space, ocean", players="two, four, six"),
    _model("Jigsaw Puzzle", 12, 40, pieces="500, 1000, 2000", picture="forest, city, animals"),
    _model("Building Blocks", 18, 85, pieces="50, 100, 200", material="wood, plastic"),
    _model("Soccer Ball", 15, 60, color="white, orange, blue", size="three, four, five"),
    _model("Tennis Racket", 50, 210, weight="light, medium, heavy", grip="small, large"),
    _model("Yoga Mat", 20, 75, color="purple, green, grey", thickness="thin, medium, thick"),
    _model("Hand Weights", 20, 110, weight="2 kg, 4 kg, 8 kg", cover="rubber, iron"),
    _model("Bicycle Helmet", 35, 130, color="white, red, black", size="small, medium, large"),
    _model("Camping Tent", 110, 430, color="green, orange", people="two, three, four"),
    _model("Sleeping Bag", 50, 190, color="blue, red, grey", season="summer, autumn, winter"),
    _model("Garden Hose", 20, 75, length="10 m, 20 m, 30 m", color="green, yellow"),
    _model("Plant Pot", 10, 50, material="clay, stone, plastic", size="small, medium, large"),
    _model("Bird House", 18, 60, material="wood, metal", color="natural, red, blue"),
    _model("Dog Bed", 30, 110, size="small, medium, large", color="brown, grey, blue"),
    _model("Cat Tree", 45, 170, height="short, medium, tall", color="grey, cream"),
    _model("Notebook", 6, 22, paper="lines, dots, plain", cover="black, red, blue", size="small, large"),
    _model("Fountain Pen", 20, 140, color="black, blue, gold", tip="fine, medium, wide"),
)
