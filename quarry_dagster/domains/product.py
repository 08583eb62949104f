"""Products: what a shop says of one, by schema.org's Product and the tags of social networks.

https://schema.org/Product; prices as they are written, without the sign of the currency.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from unicodedata import decimal

from quarry_dagster.domains.view import MOST, PageView, filled, said
from quarry_dagster.page import Node, types_of

_TYPES = ("Product", "ProductGroup", "IndividualProduct", "ProductModel")
_GTINS = ("gtin", "gtin13", "gtin14", "gtin12", "gtin8", "ean", "isbn")
_NUMBER = re.compile(r"\d[\d.,\s'’]*")
_EXPONENT = re.compile(r"\d(?:\.\d+)?[eE]\+?\d{1,2}")
_POINTS = {"٫": ".", "٬": ",", "．": ".", "，": ",", "−": "-", "–": "-"}
_LONGEST_NUMBER = 40
_ISO_CURRENCY = re.compile(r"[A-Z]{3}")
_SIGNS = {
    **{
        "A$": "AUD",
        "C$": "CAD",
        "NZ$": "NZD",
        "HK$": "HKD",
        "S$": "SGD",
        "R$": "BRL",
        "$": "USD",
        "€": "EUR",
        "£": "GBP",
    },
    **{"¥": "JPY", "₹": "INR", "₽": "RUB", "₩": "KRW", "zł": "PLN"},
}


def product(view: PageView) -> dict[str, Any] | None:
    """`name`, `brand`, `sku`, `gtin`, `price`, `high_price`, `currency`, `availability`, `rating`, `variants`."""
    node = _of_page(view)
    meta = _by_meta(view) if view.page_type == "product" else {}
    if node is None:
        return ({"name": view.title} | meta if view.title else meta) if "price" in meta else None
    variants = [each for each in view.at(node.get("hasVariant")) if isinstance(each, Mapping)]
    priced = [node, *variants, *(each for each in view.at(node.get("model")) if isinstance(each, Mapping))]
    offers = [offer for each in priced for offer in _offers(view, each)]
    first = offers[0] if offers else {}
    fields = filled(
        {
            "name": said(node.get("name")),
            "brand": said(view.first(node.get("brand"))) or said(view.first(node.get("manufacturer"))),
            "sku": said(node.get("sku")) or said(node.get("mpn")) or first.get("sku"),
            "gtin": next((gtin for each in (node, *variants[:1]) if (gtin := _gtin(each))), None),
            **_range(offers),
            "currency": first.get("currency"),
            "availability": first.get("availability"),
            "rating": rating(view, node),
            "variants": [_variant(view, each) for each in variants[:MOST]] or _offered(offers),
        }
    )
    return meta | fields if fields.keys() - {"name"} else (meta | fields if meta else None)


def _of_page(view: PageView) -> Node | None:
    """The product that the page is about: the only one, or the one that the page is named after."""
    found = view.nodes(*_TYPES)
    for page in view.nodes("ItemPage", "WebPage"):
        found += [n for n in view.at(page.get("mainEntity")) if isinstance(n, Mapping) and {*types_of(n)} & {*_TYPES}]
    groups = [node for node in found if "ProductGroup" in types_of(node)]
    found = groups or [node for node in found if node.get("name")]
    names = {said(node.get("name")) for node in found}
    if len(names) == 1:
        return max(found, key=len)
    title = (view.title or "").casefold()
    named = [node for node in found if title and (name := said(node.get("name"))) and name.casefold() in title]
    return max(named, key=len, default=None) if view.page_type == "product" else None


def _offers(view: PageView, node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for offer in view.at(node.get("offers")):
        if not isinstance(offer, Mapping):
            continue
        inner = [each for each in view.at(offer.get("offers")) if isinstance(each, Mapping)]
        said_price = _price_of_now(view, offer)
        priced: Node = offer if offer.get("price") or not isinstance(said_price, Mapping) else {**said_price, **offer}
        price = number(said(priced.get("price")) or said(offer.get("lowPrice")))
        one = filled(
            {
                "name": said(offer.get("name")),
                "sku": said(offer.get("sku")),
                "price": price,
                "high_price": number(said(offer.get("highPrice"))),
                "currency": _currency(said(priced.get("priceCurrency")), said(priced.get("price"))),
                "availability": _availability(said(offer.get("availability")) or _of_first(inner, "availability")),
            }
        )
        if one.get("high_price") == price:
            one.pop("high_price", None)
        if one.get("price") or not inner:
            found.append(one)
        else:
            found += [each for o in inner for each in _offers(view, {"offers": o})]
    return found[:MOST]


def _range(offers: list[dict[str, Any]]) -> dict[str, str]:
    """The lowest and, where it is another one, the highest price that is asked in the currency of the first offer."""
    if not offers:
        return {}
    currency = offers[0].get("currency")
    same = [offer for offer in offers if offer.get("currency") == currency]
    prices = [offer[name] for offer in same for name in ("price", "high_price") if name in offer]
    lowest, highest = min(prices, key=Decimal, default=""), max(prices, key=Decimal, default="")
    return {"price": lowest} | ({"high_price": highest} if highest != lowest else {})


def _price_of_now(view: PageView, offer: Node) -> Any:
    """The price that is asked, not one that is struck out."""
    prices = [price for price in view.at(offer.get("priceSpecification")) if isinstance(price, Mapping)]
    struck = ("StrikethroughPrice", "ListPrice", "SRP", "MSRP")
    asked = [price for price in prices if not (said(price.get("priceType")) or "").endswith(struck)]
    return next(iter(asked or prices), None)


def _of_first(offers: list[Node], name: str) -> str | None:
    return next((value for offer in offers if (value := said(offer.get(name)))), None)


def _variant(view: PageView, node: Node) -> dict[str, Any]:
    offers = _offers(view, node)
    own = {"name": said(node.get("name")), "sku": said(node.get("sku")), "gtin": _gtin(node)}
    features = {name: said(node.get(name)) for name in ("color", "size", "material", "pattern")}
    return filled(own | features | {k: v for k, v in (offers[0] if offers else {}).items() if k not in ("name", "sku")})


def _offered(offers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Offers that differ in what is offered, as variants."""
    told = {offer.get("sku") or offer.get("name") for offer in offers}
    return offers if len(offers) > 1 and len(told) == len(offers) else []


def _gtin(node: Node) -> str | None:
    for name in _GTINS:
        digits = re.sub(r"[\s-]", "", said(node.get(name)) or "")
        if digits.isdigit() and len(digits) in (8, 10, 12, 13, 14):
            return digits
    return None


def rating(view: PageView, node: Node) -> dict[str, Any] | None:
    """`value`, `best` and `count` of what people gave it."""
    told = view.first(node.get("aggregateRating"))
    if not isinstance(told, Mapping) or not (value := number(said(told.get("ratingValue")))):
        return None
    count = said(told.get("reviewCount")) or said(told.get("ratingCount"))
    return filled({"value": value, "best": number(said(told.get("bestRating"))), "count": number(count)})


def _by_meta(view: PageView) -> dict[str, Any]:
    head = view.head
    price = next(iter(head.contents("product:price:amount", "og:price:amount", "product:sale_price:amount")), None)
    currency = next(iter(head.contents("product:price:currency", "og:price:currency")), None)
    available = next(iter(head.contents("product:availability", "og:availability")), None)
    brand = next(iter(head.contents("product:brand", "og:brand")), None)
    sku = next(iter(head.contents("product:retailer_item_id", "product:sku")), None)
    amount = number(price)
    return filled(
        {
            "price": amount,
            "currency": _currency(currency, price) if amount else None,
            "availability": _availability(available),
            "brand": brand,
            "sku": sku,
        }
    )


def number(text: str | None) -> str | None:
    """A number as digits and one point: "1.299,00 €" is "1299.00". None where there is none, or below 0."""
    plain = "".join(str(decimal(c)) if c.isdecimal() else _POINTS.get(c, c) for c in (text or "")[:100])
    if _EXPONENT.fullmatch(plain.strip()):
        return f"{Decimal(plain.strip()):f}"[:_LONGEST_NUMBER]
    found = _NUMBER.search(plain)
    if not found or plain[: found.start()].rstrip().endswith("-"):
        return None
    digits = re.sub(r"[\s'’]", "", found[0]).rstrip(".,")[:_LONGEST_NUMBER]
    last = max(digits.rfind("."), digits.rfind(","))
    if last < 0:
        return digits
    sign, behind = digits[last], len(digits) - last - 1
    other = "," if sign == "." else "."
    is_grouping = digits.count(sign) > 1 or (behind == 3 and other not in digits and sign == ",")
    whole = re.sub(r"[.,]", "", digits[:last])
    return whole + digits[last + 1 :] if is_grouping else f"{whole}.{digits[last + 1 :]}"


def _currency(code: str | None, price: str | None) -> str | None:
    if code and _ISO_CURRENCY.fullmatch(code.strip().upper()):
        return code.strip().upper()
    return next((iso for sign, iso in _SIGNS.items() if sign in (code or "") + (price or "")), None)


def _availability(value: str | None) -> str | None:
    """The name of schema.org's ItemAvailability, such as `InStock`."""
    name = re.sub(r"[\s_-]", "", (value or "").rstrip("/").rpartition("/")[2])
    known = {n.casefold(): n for n in _AVAILABILITIES} | _OTHER_WORDS
    return known.get(name.casefold())


_AVAILABILITIES = (
    *("BackOrder", "Discontinued", "InStock", "InStoreOnly", "LimitedAvailability", "MadeToOrder", "OnlineOnly"),
    *("OutOfStock", "PreOrder", "PreSale", "Reserved", "SoldOut"),
)
_OTHER_WORDS = {"oos": "OutOfStock", "available": "InStock", "pending": "PreOrder", "availablefororder": "BackOrder"}
