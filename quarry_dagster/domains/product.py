"""Products: what a shop says of one, by schema.org's Product and the tags of social networks.

https://schema.org/Product. What its microdata says fills what its JSON-LD does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from quarry_dagster.domains.money import count, currency, number, price
from quarry_dagster.domains.view import MOST, PageView, filled, said
from quarry_dagster.page import Node, types_of

_TYPES = ("Product", "ProductGroup", "IndividualProduct", "ProductModel")
_LEVELS = 2
"""Levels of offers in offers that are looked into."""
_GTINS = ("gtin", "gtin13", "gtin14", "gtin12", "gtin8", "ean", "isbn")


def product(view: PageView) -> dict[str, Any] | None:
    """`name`, `brand`, `sku`, `gtin`, `price`, `high_price`, `currency`, `availability`, `rating`, `variants`."""
    node = _of_page(view, view.nodes)
    meta = _by_meta(view) if view.page_type == "product" else {}
    if node is None:
        named = {"name": _without_site(view, view.title)} if view.title else {}
        return named | meta if "price" in meta else None
    fields = _fields(view, node)
    beside = _of_page(view, view.item_nodes)
    if beside is not None and beside is not node and _are_of_one_name(beside, node):
        fields = _filled_up(fields, _fields(view, beside))
    if not meta:
        return fields if fields.keys() - {"name"} else None
    return _filled_up(fields, meta)


def _fields(view: PageView, node: Node) -> dict[str, Any]:
    """What a product's node says of it."""
    variants = [each for each in view.at(node.get("hasVariant")) if isinstance(each, Mapping)]
    priced = [node, *variants, *(each for each in view.at(node.get("model")) if isinstance(each, Mapping))]
    offers = [offer for each in priced for offer in _offers(view, each)]
    first = offers[0] if offers else {}
    return filled(
        {
            "name": _without_site(view, said(node.get("name"))),
            "brand": said(view.first(node.get("brand"))) or said(view.first(node.get("manufacturer"))),
            "sku": said(node.get("sku")) or said(node.get("mpn")) or first.get("sku"),
            "gtin": next((gtin for each in (node, *variants[:1]) if (gtin := _gtin(each))), first.get("gtin")),
            **_range(offers),
            "currency": first.get("currency"),
            "availability": first.get("availability"),
            "rating": rating(view, node),
            "variants": [_variant(view, each) for each in variants[:MOST]] or _offered(offers),
        }
    )


def _filled_up(fields: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, and those of others that they lack; a price and its currency are told by one of the two."""
    lacks = {name: value for name, value in more.items() if name not in fields}
    if "price" in fields:
        lacks.pop("high_price", None)
        if more.get("price", fields["price"]) != fields["price"]:
            lacks.pop("currency", None)
    return fields | lacks


def _are_of_one_name(one: Node, other: Node) -> bool:
    names = [(said(node.get("name")) or "").casefold() for node in (one, other)]
    return names[0] in names[1] or names[1] in names[0]


def _without_site(view: PageView, name: str | None) -> str | None:
    """A product's name without the name of the site behind it."""
    publishers = [view.first(node.get("publisher")) for node in view.nodes("WebPage", "ItemPage", "WebSite")]
    sites = [*view.head.contents("og:site_name"), *map(said, publishers)]
    sites += [said(node.get("name")) for node in view.nodes("WebSite", "Organization", "OnlineStore")]
    for site in filter(None, sites):
        shorter = re.sub(rf"\s+[|–—·•:-]\s+{re.escape(site)}$", "", name or "", flags=re.IGNORECASE)
        if shorter and shorter != name:
            return shorter
    return name


def _of_page(view: PageView, nodes: Callable[..., list[Node]]) -> Node | None:
    """The product that the page is about: the only one, or the one that the page is named after."""
    found = nodes(*_TYPES)
    for page in nodes("ItemPage", "WebPage"):
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
    return list(islice(_offers_in(view, node, _LEVELS), MOST))


def _offers_in(view: PageView, node: Node, levels: int) -> Iterator[dict[str, Any]]:
    """The offers of a node; in the place of one without a price, those in it, for so many levels."""
    for offer in view.at(node.get("offers")):
        if not isinstance(offer, Mapping):
            continue
        inner = [each for each in view.at(offer.get("offers")) if isinstance(each, Mapping)]
        one = _offer(view, offer, inner)
        if one.get("price") or not inner or not levels:
            yield one
        else:
            for each in inner:
                yield from _offers_in(view, {"offers": each}, levels - 1)


def _offer(view: PageView, offer: Node, inner: list[Node]) -> dict[str, Any]:
    said_price = _price_of_now(view, offer)
    priced: Node = offer if offer.get("price") or not isinstance(said_price, Mapping) else {**said_price, **offer}
    code = currency(said(priced.get("priceCurrency")))
    asked = price(said(priced.get("price")) or said(offer.get("lowPrice")), code)
    highest = price(said(offer.get("highPrice")), code).amount or asked.highest
    return filled(
        {
            "name": said(offer.get("name")),
            "sku": said(offer.get("sku")),
            "gtin": _gtin(offer),
            "price": asked.amount,
            "high_price": highest if highest != asked.amount else None,
            "currency": code or asked.currency,
            "availability": _availability(said(offer.get("availability")) or _of_first(inner, "availability")),
        }
    )


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
    return (offers[0] if offers else {}) | filled(own | features)


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
    people = said(told.get("reviewCount")) or said(told.get("ratingCount"))
    return filled({"value": value, "best": number(said(told.get("bestRating"))), "count": count(people)})


def _by_meta(view: PageView) -> dict[str, Any]:
    head = view.head
    written = next(iter(head.contents("product:price:amount", "og:price:amount", "product:sale_price:amount")), None)
    code = currency(next(iter(head.contents("product:price:currency", "og:price:currency")), None))
    available = next(iter(head.contents("product:availability", "og:availability")), None)
    brand = next(iter(head.contents("product:brand", "og:brand")), None)
    sku = next(iter(head.contents("product:retailer_item_id", "product:sku")), None)
    asked = price(written, code)
    return filled(
        {
            "price": asked.amount,
            "high_price": asked.highest,
            "currency": (code or asked.currency) if asked.amount else None,
            "availability": _availability(available),
            "brand": brand,
            "sku": sku,
        }
    )


def _availability(value: str | None) -> str | None:
    """The name of schema.org's ItemAvailability, such as `InStock`."""
    name = re.sub(r"[\s_-]", "", re.split("[/:]", (value or "").rstrip("/"))[-1])
    known = {n.casefold(): n for n in _AVAILABILITIES} | _OTHER_WORDS
    return known.get(name.casefold())


_AVAILABILITIES = (
    *("BackOrder", "Discontinued", "InStock", "InStoreOnly", "LimitedAvailability", "MadeToOrder", "OnlineOnly"),
    *("OutOfStock", "PreOrder", "PreSale", "Reserved", "SoldOut"),
)
_OTHER_WORDS = {"oos": "OutOfStock", "available": "InStock", "pending": "PreOrder", "availablefororder": "BackOrder"}
